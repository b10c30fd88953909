/**
 * Turns ONNX Runtime's telemetry off in this process and those it starts, unless the environment says otherwise. From 1.30 on its
 * Linux builds collect it: loading the library writes a session file and a log into the temporary directory, for an address of
 * its maker. Whoever runs this service has not agreed to that. It is read when the library is loaded, so this module comes
 * before it.
 */
process.env.ORT_DISABLE_TELEMETRY ??= '1';
