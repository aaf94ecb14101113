/** What carries messages between the hub and its agents' topics: the broker inside the hub, or one outside. */
export interface MqttBus {
  /** Resolves when the broker has it; rejects when there is none. */
  publish(topic: string, payload: Buffer): Promise<void>;
  /** False while a broker outside is away. */
  connected(): boolean;
  close(): Promise<void>;
}

/** Called for each message of an agent. Whoever wrote it has proved nothing. */
export type OnMessage = (topic: string, payload: Buffer) => void;
