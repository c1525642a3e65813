"""Back-ends for rewritten models: ONNX, TorchScript, torch.export, and the proof of parity."""
