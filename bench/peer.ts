import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { benchErrors } from './errors.ts';

const DIRECTORY = join(import.meta.dirname, 'pytorch');

/** An answer of `pytorch/reference.py`, which says what is in it. */
export type PeerAnswer = {
  readonly peakBytes: number;
  readonly seconds?: number;
  readonly decodeSeconds?: number;
  readonly difference?: number;
  readonly tensor?: string;
  readonly flops?: number;
  readonly torch?: string;
};

/** A PyTorch process that runs `pytorch/reference.py`, or another script that answers as it does. */
export class Peer {
  /** Starts it and waits until its weights are loaded. Errors: `bench-peer`. */
  static async start(
    python: string,
    args: readonly string[],
    { script = 'reference.py' }: { readonly script?: string } = {},
  ): Promise<Peer> {
    const peer = new Peer(python, args, script);
    peer.#version = (await peer.#answer()).torch ?? '';
    return peer;
  }

  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;
  #version = '';

  private constructor(python: string, args: readonly string[], script: string) {
    this.#child = spawn(python, [join(DIRECTORY, script), ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#ended = once(this.#child, 'close');
    // A process that is gone shows in its missing answer.
    this.#child.stdin.on('error', () => {});
    this.#answers = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** Of PyTorch. */
  get version(): string {
    return this.#version;
  }

  /** Sends a request and waits for its answer. One at a time. Errors: `bench-peer`. */
  async ask(request: Readonly<Record<string, unknown>> & { readonly do: string }): Promise<PeerAnswer> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.#answer();
  }

  /** Ends the process. Idempotent. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#ended;
  }

  async #answer(): Promise<PeerAnswer> {
    const { done, value } = await this.#answers.next();
    if (done) throw benchErrors.peer('Its process ended; what it printed above says why.');
    return JSON.parse(value) as PeerAnswer;
  }
}

/** Errors: `bench-peer` saying what to install where this Python has no PyTorch. */
export async function checkPython(python: string): Promise<void> {
  const probe = spawn(python, ['-c', 'import torch, numpy, safetensors'], { stdio: 'ignore' });
  const code = await once(probe, 'close').then(
    ([status]) => status as number | null,
    () => null,
  );
  if (code === 0) return;
  throw benchErrors.peer(
    `${python} does not have it. To install and use it:
  python3 -m venv VENV
  VENV/bin/pip install -r bench/pytorch/requirements.txt
  npm run bench -- … --python VENV/bin/python`,
  );
}
