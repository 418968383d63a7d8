"""Engines that run local weights, one file each; the file name is the `--infer_backend`."""
