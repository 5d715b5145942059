"""Opens layers of a GeoPackage in QGIS, which has a Python of its own; prints styles and colours as JSON."""

import json
import os
import sys

os.environ["QT_QPA_PLATFORM"] = "offscreen"
from qgis.core import QgsApplication, QgsExpressionContextUtils, QgsRenderContext, QgsVectorLayer

application = QgsApplication([], GUIenabled=False)
application.initQgis()
found = {}
for name in sys.argv[2:]:
    layer = QgsVectorLayer(f"{sys.argv[1]}|layername={name}", name, "ogr")
    renderer, context = layer.renderer().clone(), QgsRenderContext()
    context.expressionContext().appendScopes(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    renderer.startRender(context, layer.fields())
    labels = {}
    for feature in layer.getFeatures():
        context.expressionContext().setFeature(feature)
        keys = renderer.legendKeysForFeature(feature, context)
        texts = {item.ruleKey(): item.label() for item in renderer.legendSymbolItems()}
        labels[feature["newid"]] = [texts.get(key) for key in keys]
    renderer.stopRender(context)
    found[name] = {
        "valid": layer.isValid(),
        "features": layer.featureCount(),
        "crs": layer.crs().authid(),
        "renderer": renderer.type(),
        "attribute": renderer.classAttribute(),
        "labels": labels,
        "aliases": {field.name(): field.alias() for field in layer.fields()},
    }
print(json.dumps(found))
