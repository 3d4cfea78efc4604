// Receives the events of a webhook: `WEBHOOK_SECRET=whsec_… node receiver.mjs 8080`. Needs `npm install standardwebhooks`.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const known = new Set(); // in your program a table with a unique key: an event may come twice

async function bodyOf(request) {
  const pieces = [];
  let octets = 0;
  for await (const piece of request) {
    octets += piece.length;
    if (octets <= 1_000_000) pieces.push(piece); // an event has less than a kilobyte
  }
  return Buffer.concat(pieces).toString();
}

createServer(async (request, response) => {
  let event;
  try {
    event = webhook.verify(await bodyOf(request), request.headers);
  } catch {
    response.writeHead(401).end();
    return;
  }
  if (!known.has(event.id)) {
    console.log(event.type, event.subject); // here your program writes it down
    known.add(event.id);
  }
  response.writeHead(204).end(); // only now: what is not answered with 2xx comes again
}).listen(Number(process.argv[2]), "127.0.0.1");
