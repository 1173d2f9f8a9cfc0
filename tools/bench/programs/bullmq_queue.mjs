// BullMQ: `work` runs tasks, `send COUNT` adds them and waits until the last has completed.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, what, count] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/`));
const { Queue, QueueEvents, Worker } = require("bullmq");
const IORedis = require("ioredis");
const connect = () => new IORedis(process.env.REDIS_URL, { maxRetriesPerRequest: null });

if (what === "work") {
  const worker = new Worker("bench", async (job) => Date.now() - job.data.sentAt, { connection: connect(), concurrency: 8 });
  await worker.waitUntilReady();
  console.log("ready");
} else {
  const queue = new Queue("bench", { connection: connect() });
  const events = new QueueEvents("bench", { connection: connect() });
  await events.waitUntilReady();
  const starts = [];
  const wanted = Number(count);
  const done = new Promise((resolve) => {
    events.on("completed", ({ returnvalue }) => starts.push(Number(returnvalue)) === wanted && resolve());
  });
  const began = process.hrtime.bigint();
  for (let sent = 0; sent < wanted; sent += 1) await queue.add("noop", { sentAt: Date.now() });
  await done;
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  console.log(JSON.stringify({ seconds, starts_ms: starts }));
  process.exit(0);
}
