"""ATen graphs to ONNX models: one table of translations per family of operators, checked against the kernels that ONNX Runtime really has."""
