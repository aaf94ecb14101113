import { expect, test } from "bun:test";
import { bareGrant } from "../../model/grant.ts";
import { DEFAULT_RESOURCES } from "../../model/permissions.ts";
import type { SecretPort } from "./secret-port.ts";
import { withSecrets } from "./secret-settings.ts";

const secrets: SecretPort = {
  fill: (input) => input,
  held: () => ({}),
  open: (namespace, name) => `${namespace}:${name} $& $1`,
};
const asked = { plugin: "forward", grant: { ...bareGrant(DEFAULT_RESOURCES), secrets: ["API_*"] }, secrets };

test("secrets of the plugin's namespace come to their places", () => {
  const settings = { url: "http://x", headers: { a: ["Bearer ${{ secrets.API_TOKEN }}", 1, null] } };
  expect(withSecrets(settings, asked)).toEqual({
    settings: { ...settings, headers: { a: ["Bearer forward:API_TOKEN $& $1", 1, null] } },
    forGrant: settings,
    held: { headers: ["API_TOKEN"] },
  });
  const shared = { ...asked, grant: { ...asked.grant, namespaces: ["web"] } };
  expect(withSecrets({ a: "${{secrets.API_A}}${{ secrets.API_B }}" }, shared)?.settings).toEqual({
    a: "web:API_A $& $1web:API_B $& $1",
  });
});

test("a grant is decided on nothing of a secret but the origin of an address", () => {
  const open = { ...asked, secrets: { ...secrets, open: (_of: string, name: string) => VALUES[name]! } };
  const VALUES: Record<string, string> = {
    API_HOOK: "https://hooks.example.org/T0/B0/x7",
    API_PATH: "T0/B0/x7",
    API_FILE: "/etc/shadow",
  };
  const settings = {
    whole: "${{ secrets.API_HOOK }}",
    path: "http://h:81/a/${{ secrets.API_PATH }}",
    file: "${{ secrets.API_FILE }}",
    inner: ["/x/${{ secrets.API_PATH }}"],
  };
  expect(withSecrets(settings, open)?.forGrant).toEqual({
    ...settings,
    whole: "https://hooks.example.org/",
    path: "http://h:81/",
  });
});

test("what was not granted is denied; without secrets nothing is touched", () => {
  expect(() => withSecrets({ a: "${{ secrets.OTHER }}" }, asked)).toThrow(
    "denied: secret OTHER for plugin forward",
  );
  expect(() => withSecrets({ a: "${{ secrets.API_A }}" }, { ...asked, secrets: undefined })).toThrow(
    "no secrets",
  );
  const settings = { a: "plain" };
  expect(withSecrets(settings, asked)).toBeNull();
});
