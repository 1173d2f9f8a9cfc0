// A gateway as Node's users write it: fastify, @fastify/http-proxy, and jose against the issuer's key set.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, port, upstream, issuer, audience] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/`));
const { createRemoteJWKSet, jwtVerify } = await import(pathToFileURL(require.resolve("jose")).href);
const app = require("fastify")();
const keys = createRemoteJWKSet(new URL(`${issuer}/certs`));

app.register(require("@fastify/http-proxy"), {
  upstream: `http://127.0.0.1:${upstream}`,
  preHandler: async (request, reply) => {
    const token = (request.headers.authorization ?? "").replace(/^Bearer /, "");
    try {
      const { payload } = await jwtVerify(token, keys, { issuer, audience, algorithms: ["RS256"] });
      request.headers["x-auth-client-id"] = payload.client_id;
      delete request.headers.authorization;
    } catch {
      return reply.code(401).send({ title: "Invalid token" });
    }
  },
});
await app.listen({ host: "127.0.0.1", port: Number(port) });
