"""scikit-learn pipelines as ONNX in double precision: a converter of our own, and the proof that its answers agree.

The converters that exist work in float32 and are silently wrong for missing values, categories and thresholds. This one
covers trees, linear models and small networks behind the preprocessing of `Auto`; all else is NotConvertibleError, and
then scikit-learn serves.
"""
