"""ONNX models: read and run, their recurrent operators, a layer that was exported to one."""
