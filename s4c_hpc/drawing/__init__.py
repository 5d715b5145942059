"""What every page and plot is drawn with: SVG by hand, numbers as people read them, one style sheet."""
