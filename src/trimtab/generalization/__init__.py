"""What a result is worth beyond the rows it was made on: cross-validation, ensembles, diagnosis.

Works with NumPy alone at import; scikit-learn and PyArrow are imported where they are used.
"""
