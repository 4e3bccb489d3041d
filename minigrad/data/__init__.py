"""Data sets and the ways to cut them into batches and parts: arrays in, arrays out."""

from minigrad.data.digits import load_digits as load_digits
from minigrad.data.loader import DataLoader as DataLoader
from minigrad.data.loader import split as split
