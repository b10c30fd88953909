/** Longest reason that is handed on; ONNX Runtime's messages can hold whole shapes and traces. */
const MAX_CHARS = 300;

/**
 * Why ONNX Runtime (or a parser) refused, as one short line that a client may see: directories, its own source positions
 * and everything after the first line are left out. `directory` is the one the failing file lies in, where that is known:
 * only then is a path with spaces recognised for certain.
 */
export function runtimeReason(error: unknown, { directory = '' }: { directory?: string } = {}): string {
  const text = error instanceof Error ? error.message : String(error);
  // CUDA's own words stand behind a page of C++ templates and before the host's name.
  const cuda = /\bCU[A-Z_]+ failure -?\d+: [^;\n]*/.exec(text)?.[0];
  if (cuda !== undefined) return cuda.slice(0, MAX_CHARS).trim();
  return (
    text
      .split('\n', 1)[0]!
      .replaceAll(directory, '')
      // Paths lose their directories, so that a bundle's file keeps its name and nothing else of the machine shows.
      .replace(/(?:\b[A-Za-z]:(?=[/\\]))?(?:[^\s/\\'":]*[/\\])+/g, '')
      .replace(/\.+\s*$/, '')
      .slice(0, MAX_CHARS)
      .trim() || 'no reason given'
  );
}
