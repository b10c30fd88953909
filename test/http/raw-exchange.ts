/** HTTP as bytes, for requests that no client would send. */
import { once } from 'node:events';
import { connect } from 'node:net';

/** Sends bytes as they are and answers everything that comes back until the server closes. */
export async function rawExchange(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  socket.on('error', () => undefined);
  socket.write(bytes);
  let received = '';
  socket.on('data', (chunk) => (received += chunk));
  await once(socket, 'close');
  return received;
}

/** The JSON body of an answer with a head. */
export function bodyOf<T>(answer: string): T {
  return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))) as T;
}
