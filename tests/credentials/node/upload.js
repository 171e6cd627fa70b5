// The vendor's credential library and SDK for Node.js, with keys that the proxy hands out: as ../upload.py.
'use strict';

const assert = require('node:assert');
const readline = require('node:readline');
const { default: Client, Config } = require('@alicloud/credentials');
const OSS = require('ali-oss');

const { SOURCES, METADATA, REPLICAS } = process.env;
const sources = JSON.parse(SOURCES).map(({ name, variable, caller }) => (
  { name, caller, config: { type: 'credentials_uri', credentialsURI: process.env[variable] } }));
if (METADATA) sources.push({ name: 'ecs_ram_role', caller: 'team-a', config: { type: 'ecs_ram_role', disableIMDSv1: true } });

async function upload(client, caller) {
  for (const endpoint of REPLICAS.split(',')) {
    for (const authorizationV4 of [true, false]) {
      const { accessKeyId, accessKeySecret, securityToken } = await client.getCredential();
      const bucket = new OSS({
        // At an address it names the bucket in Host.
        endpoint, region: 'oss-cn-hangzhou', bucket: 'my-bucket', authorizationV4,
        accessKeyId, accessKeySecret, stsToken: securityToken, refreshSTSTokenInterval: 3600000,
      });
      const key = `${caller}/node/${authorizationV4}`;
      await bucket.put(key, Buffer.from('bytes'));
      assert.equal((await bucket.get(key)).content.toString(), 'bytes');
      await assert.rejects(bucket.put(`not-${key}`, Buffer.from('bytes')), { code: 'AccessDenied' }); // the key of another caller
    }
  }
  return (await client.getCredential()).accessKeyId;
}

async function main() {
  const known = {};
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (const attempt of ['first', 'second']) {
    for (const { name: source, caller, config } of sources) {
      const result = { library: '@alicloud/credentials', source, attempt };
      try {
        known[source] ??= new Client(new Config(config));
        result.id = await upload(known[source], caller);
      } catch (error) {
        result.error = String(error);
      }
      console.log(JSON.stringify(result));
    }
    console.log('{}');
    await lines.next();
  }
  process.exit(0);
}

main();
