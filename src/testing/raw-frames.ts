import { Client, credentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { SyncService } from "../protocol/gen/holdfast/v1/sync.ts";
import type { PemPair } from "./test-ca.ts";

const same = (bytes: Buffer): Buffer => bytes;

/** One side of a gRPC stream that sends and takes bytes as they are, as another version of the program would. */
export interface RawStream {
  readonly received: Buffer[];
  send(bytes: Uint8Array): void;
  end(): void;
}

/** Why the hub ended the call; null while it goes on. */
export interface RawCall extends RawStream {
  ended(): string | null;
}

/** An agent of which nothing but the bytes is known. */
export function rawAgent(port: number, ca: string, identity: PemPair): RawCall {
  const secure = credentials.createSsl(
    Buffer.from(ca),
    Buffer.from(identity.key),
    Buffer.from(identity.certificate),
  );
  const client = new Client(`localhost:${port}`, secure);
  const call = client.makeBidiStreamRequest(SyncService.connect.path, same, same);
  const received: Buffer[] = [];
  call.on("data", (bytes: Buffer) => void received.push(bytes));
  call.on("error", () => {});
  let ended: string | null = null;
  call.on("status", ({ code, details }: { code: number; details: string }) => {
    ended = `${code} ${details}`;
    client.close();
  });
  return {
    ended: () => ended,
    received,
    send: (bytes) => void call.write(Buffer.from(bytes)),
    end: () => call.end(),
  };
}

export interface RawHub {
  readonly port: number;
  stop(): void;
}

/** A hub of which nothing but the bytes is known: `serve` is handed each stream, and then each frame on it. */
export async function rawHub(
  ca: string,
  pair: PemPair,
  serve: (frame: Buffer, stream: RawStream) => void,
): Promise<RawHub> {
  const server = new Server();
  const connect = {
    ...{ path: SyncService.connect.path, requestStream: true, responseStream: true },
    ...{
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    },
  };
  server.addService(
    { connect },
    {
      connect: (call: ServerDuplexStream<Buffer, Buffer>) => {
        const received: Buffer[] = [];
        const stream: RawStream = {
          received,
          send: (bytes) => void call.write(Buffer.from(bytes)),
          end: () => call.end(),
        };
        call.on("data", (bytes: Buffer) => {
          received.push(bytes);
          serve(bytes, stream);
        });
        call.on("end", () => call.end());
        call.on("error", () => {});
      },
    },
  );
  const secure = ServerCredentials.createSsl(
    Buffer.from(ca),
    [{ private_key: Buffer.from(pair.key), cert_chain: Buffer.from(pair.certificate) }],
    true,
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", secure, (error, bound) => (error ? reject(error) : resolve(bound))),
  );
  return { port, stop: () => server.forceShutdown() };
}
