// What a caller does first, with the types that openapi-typescript made of the document. Run by test_generated_clients.py.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.d.ts";

declare const process: { argv: string[] };
type Messages = components["schemas"]["MessagePage"];
const [base, admin, member, mailbox] = process.argv.slice(2);
const { imap, smtp, password } = JSON.parse(mailbox!);
const as = (token: string | undefined) =>
  createClient<paths>({ baseUrl: base!, headers: { Authorization: `Bearer ${token}` } });
const asAdmin = as(admin);
const asMember = as(member);

function got<T>(answer: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (answer.data === undefined) throw new Error(answer.error?.code);
  return answer.data;
}

const connector = got(
  await asAdmin.POST("/connectors", {
    body: {
      name: "Orders", kind: "shared", email_address: "info@firma.cz", imap, smtp, first_fetch: "all",
      credentials: { type: "password", password },
    },
  }),
);
got(await asAdmin.POST("/group-bindings", { body: { connector_id: connector.id, group: "typescript" } }));
const path = { connector_id: connector.id };
const cycle = got(await asAdmin.POST("/connectors/{connector_id}/fetch", { params: { path } }));
const listed: Messages = got(await asMember.GET("/messages", { params: { query: path } }));
const first = listed.data[0]!;
const message = got(await asMember.GET("/messages/{message_id}", { params: { path: { message_id: first.id } } }));
const submission = got(
  await asMember.POST("/submissions", {
    body: { connector_id: connector.id, to: ["eva@firma.cz"], text: "Thank you.", in_reply_to: first.id },
  }),
);
const events = got(await asAdmin.GET("/events", { params: { query: { limit: 200 } } }));
const missing = await asMember.GET("/messages/{message_id}", { params: { path: { message_id: "nothing" } } });
console.log(
  JSON.stringify({
    cycle: cycle.outcome,
    subject: message.subject,
    text: message.text,
    is_time: new Date(message.stored_at).getTime() <= Date.now(),
    submission: submission.subject,
    event: events.data.find((each) => each.data["connector_id"] === connector.id)?.type,
    missing: missing.error?.code,
  }),
);
