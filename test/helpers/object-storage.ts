/** Real servers of object storage, on loopback addresses. */
import { CreateBucketCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import {
  keepServer,
  requireProgram,
  serverDirectory,
  serverPort,
  startForTest,
  type TestServer,
} from './services.ts';

/** The bucket that a started server has. */
export const TEST_BUCKET = 'loradrop-test';
const ACCESS = { accessKeyId: 'loradrop', secretAccessKey: 'loradrop-secret' };

/** The variables by which the AWS SDK finds a server. */
export function objectStorageEnvironment(port: number): Record<string, string> {
  return {
    AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: ACCESS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: ACCESS.secretAccessKey,
  };
}

/** A client of a started server, for looking at what is in it. */
export function objectStorageClient(port: number): S3Client {
  const endpoint = `http://127.0.0.1:${port}`;
  return new S3Client({ endpoint, region: 'us-east-1', credentials: ACCESS, forcePathStyle: true });
}

async function answers(port: number): Promise<boolean> {
  const client = objectStorageClient(port);
  try {
    await client.send(new HeadBucketCommand({ Bucket: TEST_BUCKET }));
    return true;
  } catch (error) {
    if (!(error instanceof Error && error.name === 'NotFound')) return false;
    return await client.send(new CreateBucketCommand({ Bucket: TEST_BUCKET })).then(
      () => true,
      () => false,
    );
  } finally {
    client.destroy();
  }
}

/** Starts versitygw on a directory; it checks signatures. */
export function startVersitygw(t: Test): Promise<TestServer | undefined> {
  return startForTest(t, 'versitygw', async () => {
    const port = await serverPort();
    const directory = await serverDirectory('versitygw');
    return await keepServer({
      url: `http://127.0.0.1:${port}`,
      port,
      directory,
      command: [requireProgram('versitygw'), '--port', `127.0.0.1:${port}`, 'posix', directory],
      environment: { ROOT_ACCESS_KEY: ACCESS.accessKeyId, ROOT_SECRET_KEY: ACCESS.secretAccessKey },
      killSignal: 'SIGKILL',
      answers: () => answers(port),
    });
  });
}

/** Starts moto, which keeps everything in memory and does not check signatures. */
export function startMoto(t: Test): Promise<TestServer | undefined> {
  return startForTest(t, 'moto_server', async () => {
    const port = await serverPort();
    return await keepServer({
      url: `http://127.0.0.1:${port}`,
      port,
      directory: await serverDirectory('moto'),
      command: [requireProgram('moto_server'), '-H', '127.0.0.1', '-p', String(port)],
      killSignal: 'SIGKILL',
      answers: () => answers(port),
    });
  });
}
