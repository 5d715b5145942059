"""stub"""


def classification_html(*a, **k):
    return "<html></html>"
