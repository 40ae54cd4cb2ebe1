"""ATen graphs to ONNX models: a table of translations per family of operators, held against the kernels of ONNX Runtime."""
