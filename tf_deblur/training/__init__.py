"""A training run: prepared data to augmented batches, the schedule, the working directory.

Imports models, datasets (which reads prepared data), blurring and pictures.
"""
