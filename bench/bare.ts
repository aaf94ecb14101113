/**
 * The least that an agent could be: an HTTP server with one route over a durable SQLite table. The baseline of
 * bench/start.ts; compiled like the product.
 */
import { Database } from "bun:sqlite";

const db = new Database(`${process.argv[2]}/bare.db`, { create: true });
db.run("PRAGMA journal_mode = WAL");
db.run("PRAGMA synchronous = FULL");
db.run("CREATE TABLE IF NOT EXISTS events (n INTEGER PRIMARY KEY, body TEXT NOT NULL)");
db.run("INSERT INTO events (body) VALUES ('start')");
const count = db.query("SELECT count(*) AS n FROM events");

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  routes: { "/readyz": () => Response.json(count.get()) },
  fetch: () => new Response("not found", { status: 404 }),
});
console.log(JSON.stringify({ ready: true, health: `http://127.0.0.1:${server.port}` }));
process.on("SIGTERM", () => process.exit(0));
