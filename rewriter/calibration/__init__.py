"""Calibrate: run a model on example inputs and keep what enters its activations."""

from rewriter.calibration.files import read_calibration
from rewriter.calibration.inputs import listed, run_on_calibration
from rewriter.calibration.observation import observe

__all__ = ["listed", "observe", "read_calibration", "run_on_calibration"]
