// BullMQ: `work` runs tasks, `send COUNT` adds them and waits until the last has completed.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, what, count] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/`));
const { Queue, Worker } = require("bullmq");
const IORedis = require("ioredis");
const connect = () => new IORedis(process.env.REDIS_URL, { maxRetriesPerRequest: null });

if (what === "work") {
  const worker = new Worker("bench", async (job) => Date.now() - job.data.sentAt, { connection: connect(), concurrency: 8 });
  await worker.waitUntilReady();
  console.log("ready");
} else {
  const queue = new Queue("bench", { connection: connect() });
  const wanted = Number(count);
  const before = await queue.getCompletedCount();
  const began = process.hrtime.bigint();
  for (let sent = 0; sent < wanted; sent += 1) await queue.add("noop", { sentAt: Date.now() });
  while ((await queue.getCompletedCount()) < before + wanted) await new Promise((resolve) => setTimeout(resolve, 5));
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  const completed = await queue.getCompleted(0, wanted - 1);
  console.log(JSON.stringify({ seconds, starts_ms: completed.map((job) => job.returnvalue) }));
  process.exit(0);
}
