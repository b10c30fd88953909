/** ONNX Runtime as this room uses it: the one place that imports it. */
import './no-telemetry.ts';

export { env, InferenceSession, Tensor } from 'onnxruntime-node';
