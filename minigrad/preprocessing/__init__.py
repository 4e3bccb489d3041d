"""Preprocessing with scikit-learn's protocol: learn from the training data, then transform any data."""

from .covariance import PCA, Whitening
from .encoding import MeanImputer, OneHotEncoder
from .pipeline import Pipeline
from .scaling import Center, ChannelScaler, GlobalContrastNormalizer, MinMaxScaler, RobustScaler, StandardScaler
from .transformer import NotFittedError, Transformer

__all__ = [
    "PCA",
    "Center",
    "ChannelScaler",
    "GlobalContrastNormalizer",
    "MeanImputer",
    "MinMaxScaler",
    "NotFittedError",
    "OneHotEncoder",
    "Pipeline",
    "RobustScaler",
    "StandardScaler",
    "Transformer",
    "Whitening",
]
