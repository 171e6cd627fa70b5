// ali-oss: V1 and V4. `node ali_oss.js PLAN`; one JSON line per operation.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const { Readable } = require('node:stream');
const OSS = require('ali-oss');
const scoped = require('./scoped.js');

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const client = open(plan.bucket);
const SIZES = { 0: 0, 1: 1, '1k': 1024, '256k': 256 * 1024 + 1, '5m': 5 * 1024 * 1024 + 3 };

function open(bucket, more = {}) {
  return new OSS({
    endpoint: plan.endpoint,
    region: `oss-${plan.region}`,
    bucket,
    accessKeyId: plan.access_key_id,
    accessKeySecret: plan.access_key_secret,
    stsToken: plan.security_token || undefined,
    refreshSTSTokenInterval: plan.security_token ? 3600000 : undefined,
    authorizationV4: plan.signature === 'v4',
    sldEnable: plan.addressing === 'path',
    enableProxy: Boolean(plan.http_proxy),
    proxy: plan.http_proxy || undefined,
    ...more,
  });
}

const operations = {
  async head() {
    const { key, body } = await stored('head');
    const { headers } = (await client.head(key)).res;
    assert.equal(headers['content-length'], String(body.length));
    assert.equal(headers.etag, `"${md5(body)}"`);
    assert.ok(headers['last-modified']);
  },
  'head-missing': () => refused(client.head('op/absent'), 404, 'NoSuchKey'),
  async delete() {
    const { key } = await stored('delete');
    await client.delete(key);
    await refused(client.get(key), 404, 'NoSuchKey');
  },
  'delete-missing': () => client.delete('op/absent'),
  async 'content-type'() {
    await client.put('op/content-type', Buffer.from('typed'), { headers: { 'Content-Type': 'text/x-clients; charset=utf-8' } });
    assert.equal((await client.head('op/content-type')).res.headers['content-type'], 'text/x-clients; charset=utf-8');
  },
  async 'user-metadata'() {
    const meta = { plain: 'value', spaced: 'two  words, and a comma', symbols: "a+b=c&d%20%41/?~!'()*" };
    await client.put('op/metadata', Buffer.from('described'), { meta });
    assert.deepEqual({ ...(await client.head('op/metadata')).meta }, meta);
  },
  async 'utf8-metadata'() {
    const raw = open(plan.bucket, { headerEncoding: 'latin1' }); // the option that sends UTF-8 bytes in a header
    await raw.put('op/metadata-utf8', Buffer.from('described'), { meta: { name: '名 é' } });
    assert.equal(Buffer.from((await client.head('op/metadata-utf8')).meta.name, 'latin1').toString(), '名 é');
  },
  async 'response-override'() {
    const { key, body } = await stored('override');
    const value = 'attachment; filename="a b+c&d=%2F.txt"';
    const { content, res } = await client.get(key, { subres: { 'response-content-disposition': value } });
    same(content, body);
    assert.equal(res.headers['content-disposition'], value);
  },
  range: () => ranged('bytes=10-99', (body) => body.subarray(10, 100), 'bytes 10-99/1000'),
  'range-open': () => ranged('bytes=900-', (body) => body.subarray(900), 'bytes 900-999/1000'),
  'range-suffix': () => ranged('bytes=-25', (body) => body.subarray(-25), 'bytes 975-999/1000'),
  async 'if-none-match'() {
    const { key, body } = await stored('condition');
    await unmodified(key, { 'If-None-Match': `"${md5(body)}"` });
  },
  async 'if-match'() {
    const { key } = await stored('condition');
    await refused(client.get(key, { headers: { 'If-Match': `"${md5('another')}"` } }), 412);
  },
  async 'if-modified-since'() {
    const { key } = await stored('condition');
    await unmodified(key, { 'If-Modified-Since': (await client.head(key)).res.headers['last-modified'] });
  },
  async 'if-unmodified-since'() {
    const { key } = await stored('condition');
    await refused(client.get(key, { headers: { 'If-Unmodified-Since': 'Sun, 09 Sep 2001 01:46:40 GMT' } }), 412);
  },
  'list-v1': () => listing(1),
  'list-v1-paging': () => paging(1),
  'list-v1-encoding': () => encoding(1),
  'list-v2': () => listing(2),
  'list-v2-paging': () => paging(2),
  'list-v2-encoding': () => encoding(2),
  async append() {
    const parts = [crypto.randomBytes(1000), crypto.randomBytes(5)];
    await client.delete('op/append');
    const { nextAppendPosition } = await client.append('op/append', parts[0]);
    await client.append('op/append', parts[1], { position: nextAppendPosition });
    same((await client.get('op/append')).content, Buffer.concat(parts));
  },
  async 'append-conflict'() {
    const key = 'op/append-conflict';
    await client.delete(key);
    await client.append(key, Buffer.from('first'));
    await refused(client.append(key, Buffer.from('late'), { position: 3 }), 409, 'PositionNotEqualToLength');
    const plain = await stored('append-plain');
    await refused(client.append(plain.key, Buffer.from('x'), { position: 1000 }), 409, 'ObjectNotAppendable');
  },
  async 'multi-delete'() {
    const keys = ['op/many/a b+c%2F', 'op/many/<&>\'"', 'op/many/中文', 'op/many/plain'];
    for (const key of [...keys, 'op/many-kept']) await client.put(key, Buffer.from('x'));
    await client.deleteMulti(keys);
    for (const key of keys) await refused(client.get(key), 404, 'NoSuchKey');
    same((await client.get('op/many-kept')).content, Buffer.from('x'));
  },
  async copy() {
    const [source, target] = ["op/copy/源 +%2F&?#'$@=.txt", 'op/copy/target +1'];
    const body = crypto.randomBytes(5000);
    await client.put(source, body, { headers: { 'Content-Type': 'text/x-copied' } });
    await client.copy(target, source);
    const { content, res } = await client.get(target);
    same(content, body);
    assert.equal(res.headers['content-type'], 'text/x-copied');
  },
  async multipart() {
    const key = 'op/multi part+1';
    const body = crypto.randomBytes(2 * 131072 + 1000);
    const { uploadId } = await client.initMultipartUpload(key);
    const parts = [];
    for (const [index, start] of [0, 131072, 262144].entries()) {
      const { etag } = await client._uploadPart(key, uploadId, index + 1, slice(body, start, start + 131072));
      parts.push({ number: index + 1, etag });
    }
    const listed = await client.listParts(key, uploadId, {});
    assert.deepEqual(listed.parts.map((part) => Number(part.PartNumber)), [1, 2, 3]);
    await client.completeMultipartUpload(key, uploadId, parts);
    same((await client.get(key)).content, body);
  },
  async 'multipart-abort'() {
    const key = 'op/aborted';
    const { uploadId } = await client.initMultipartUpload(key);
    await client._uploadPart(key, uploadId, 1, slice(crypto.randomBytes(1000), 0, 1000));
    await client.abortMultipartUpload(key, uploadId);
    await refused(client.listParts(key, uploadId, {}), 404, 'NoSuchUpload');
  },
  async 'part-copy'() {
    const [source, key] = ["op/copy/源 +%2F&?#'$@=.txt", 'op/part copy+1'];
    const body = crypto.randomBytes(150000);
    await client.put(source, body);
    const { uploadId } = await client.initMultipartUpload(key);
    const from = { sourceBucketName: plan.bucket, sourceKey: source };
    const parts = [];
    for (const [index, range] of [null, '10-99'].entries()) {
      const { etag } = await client.uploadPartCopy(key, uploadId, index + 1, range, from);
      parts.push({ number: index + 1, etag });
    }
    assert.deepEqual(parts.map((part) => part.etag), [body, body.subarray(10, 100)].map((part) => `"${md5(part)}"`));
    await client.completeMultipartUpload(key, uploadId, parts);
    same((await client.get(key)).content, Buffer.concat([body, body.subarray(10, 100)]));
  },
  async 'list-parts-paging'() {
    const key = 'op/many parts';
    const { uploadId } = await client.initMultipartUpload(key);
    for (const number of [1, 2, 5]) await client._uploadPart(key, uploadId, number, slice(Buffer.from('x'), 0, 1));
    const page = async (query) => [(await client.listParts(key, uploadId, { 'max-parts': 2, ...query })).parts].flat().map((part) => part.PartNumber);
    assert.deepEqual([await page({}), await page({ 'part-number-marker': 2 })], [['1', '2'], ['5']]);
    await client.abortMultipartUpload(key, uploadId);
  },
  async 'list-uploads'() {
    const started = [];
    for (const key of ['op/uploads/a +', 'op/uploads/b%2F', 'op/uploads/中']) {
      started.push({ key, id: (await client.initMultipartUpload(key)).uploadId });
    }
    const found = [];
    let after = {};
    while (after && found.length <= started.length) {
      const page = await client.listUploads({ prefix: 'op/uploads/', 'max-uploads': 1, ...after });
      found.push(...page.uploads.map((upload) => ({ key: upload.name, id: upload.uploadId })));
      after = page.isTruncated ? { 'key-marker': page.nextKeyMarker, 'upload-id-marker': page.nextUploadIdMarker } : null;
    }
    assert.deepEqual(found, started);
    for (const { key, id } of started) await client.abortMultipartUpload(key, id);
  },
  async 'object-acl'() {
    const { key } = await stored('acl');
    assert.equal((await client.getACL(key)).acl, 'default');
    await client.putACL(key, 'public-read');
    assert.equal((await client.getACL(key)).acl, 'public-read');
  },
  async 'object-tagging'() {
    const { key } = await stored('tagging');
    const tags = { team: 'a b', 'plus+': 'c=d/e:f' };
    await client.putObjectTagging(key, tags);
    assert.deepEqual((await client.getObjectTagging(key)).tag, tags);
    await client.deleteObjectTagging(key);
    assert.deepEqual((await client.getObjectTagging(key)).tag, {});
  },
  async symlink() {
    const { key, body } = await stored('link target 中');
    await client.putSymlink('op/link', key);
    same((await client.get('op/link')).content, body);
    assert.equal((await client.getSymlink('op/link')).targetName, key);
  },
  async 'object-meta'() {
    const { key, body } = await stored('meta');
    const { headers } = (await client.getObjectMeta(key)).res;
    assert.deepEqual([headers['content-length'], headers.etag], [String(body.length), `"${md5(body)}"`]);
  },
  async 'bucket-acl'() {
    for (const acl of ['public-read', 'private']) {
      await client.putBucketACL(plan.bucket, acl);
      assert.equal((await client.getBucketACL(plan.bucket)).acl, acl);
    }
  },
  async 'bucket-lifecycle'() {
    const lifecycle = () => client.getBucketLifecycle(plan.bucket);
    await refused(lifecycle(), 404, 'NoSuchLifecycle');
    await client.putBucketLifecycle(plan.bucket, [{ id: 'rule-1', prefix: 'op/old/', status: 'Enabled', expiration: { days: 30 } }]);
    assert.deepEqual((await lifecycle()).rules.map((rule) => rule.id), ['rule-1']);
    await client.deleteBucketLifecycle(plan.bucket);
    await refused(lifecycle(), 404, 'NoSuchLifecycle');
  },
  async 'bucket-create-delete'() {
    const name = `${plan.bucket}-made`;
    const made = open(name);
    await made.putBucket(name);
    await made.put('k', Buffer.from('x'));
    await refused(made.deleteBucket(name), 409, 'BucketNotEmpty');
    await made.delete('k');
    await made.deleteBucket(name);
    await refused(made.put('k', Buffer.from('x')), 404, 'NoSuchBucket');
  },
  async 'list-buckets'() {
    const { buckets } = await client.listBuckets({ prefix: plan.bucket });
    assert.ok(buckets.some((bucket) => bucket.name === plan.bucket));
  },
  async 'bucket-info'() {
    const { bucket } = await client.getBucketInfo(plan.bucket);
    assert.deepEqual([bucket.Name, bucket.Location], [plan.bucket, `oss-${plan.region}`]);
  },
  async 'bucket-location'() {
    const { location } = await client.getBucketLocation(plan.bucket);
    assert.equal(location._ || location, `oss-${plan.region}`);
  },
  'missing-key': () => refused(client.get('op/absent'), 404, 'NoSuchKey'),
  async 'stream-upload'() {
    const chunks = [1, 70000, 8192, 200001].map((size) => crypto.randomBytes(size));
    await client.putStream('op/stream', Readable.from(chunks));
    same((await client.get('op/stream')).content, Buffer.concat(chunks));
  },
  async 'presigned-get'() {
    const { key, body } = await stored('presigned +&?.bin');
    same(await plainly('GET', await presigned('GET', key)), body);
  },
  async 'presigned-put'() {
    const [key, body] = ['op/presigned put +&?.bin', crypto.randomBytes(1000)];
    await plainly('PUT', await presigned('PUT', key), body);
    same((await client.get(key)).content, body);
  },
  'refused-put': () => refused(client.put('op/refused', Buffer.from('x')), 403, plan.refusal),
  'refused-get': () => refused(client.get('op/refused'), 403, plan.refusal),
  'refused-list': () => refused(client.listV2({ prefix: 'op/' }), 403, plan.refusal),
};

for (const [name, size] of Object.entries(SIZES)) {
  operations[`put-get-${name}`] = async () => {
    const { key, body } = await stored(`put-get-${name}`, size);
    same((await client.get(key)).content, body);
  };
}
for (const { name, key, body } of plan.writes) {
  operations[`write:${name}`] = () => client.put(key, Buffer.from(body));
}
for (const { name, key, body, bucket } of plan.reads) {
  operations[`read:${name}`] = async () => same((await open(bucket).get(key)).content, Buffer.from(body));
}

for (const item of plan.urls) {
  operations[`sign:${item.name}`] = async () => {
    if (item.body) await client.put(item.key, Buffer.from(item.body));
    return { url: await presigned(item.method, item.key, item.seconds) }; // the driver requests it with curl
  };
}

function presigned(method, key, expires = 600) {
  return plan.signature === 'v4' ? client.signatureUrlV4(method, expires, {}, key) : client.signatureUrl(key, { method, expires });
}

async function stored(name, size = 1000) {
  const body = crypto.randomBytes(size);
  await client.put(`op/${name}`, body);
  return { key: `op/${name}`, body };
}

async function ranged(range, part, contentRange) {
  const { key, body } = await stored('range');
  const { content, res } = await client.get(key, { headers: { Range: range } });
  same(content, part(body));
  assert.deepEqual([res.status, res.headers['content-range']], [206, contentRange]);
}

async function unmodified(key, headers) {
  assert.equal((await client.get(key, { headers })).res.status, 304); // ali-oss treats 304 as a success
}

function list(version, query) {
  return version === 1 ? client.list(query) : client.listV2(query);
}

async function tree(version) {
  const prefix = `op/list v${version}/`;
  const keys = ['a', 'b', 'dir/1', 'dir/2', 'sub dir+/x', 'z', 'é'].map((name) => prefix + name);
  for (const key of keys) await client.put(key, Buffer.from('x'));
  return { prefix, keys };
}

async function listing(version) {
  const { prefix } = await tree(version);
  const page = await list(version, { prefix, delimiter: '/' });
  assert.deepEqual(names(page), ['a', 'b', 'z', 'é'].map((name) => prefix + name));
  assert.deepEqual(page.prefixes, ['dir/', 'sub dir+/'].map((name) => prefix + name));
}

async function paging(version) {
  const { prefix, keys } = await tree(version);
  const seen = [];
  let after = {};
  for (let pages = 0; pages < keys.length && after; pages += 1) {
    const page = await list(version, { prefix, 'max-keys': 2, ...after });
    assert.ok(names(page).length <= 2);
    seen.push(...names(page));
    const next = version === 1 ? { marker: page.nextMarker } : { 'continuation-token': page.nextContinuationToken };
    after = page.isTruncated ? next : null;
  }
  assert.deepEqual(seen, keys);
}

async function encoding(version) {
  const prefix = `op/encoding ${version}+/`;
  const keys = ['\x01control', ' space', '%20', '+', '<&>', 'é', '中文'].map((name) => prefix + name);
  for (const key of keys) await client.put(key, Buffer.from('x'));
  const page = await list(version, { prefix, 'encoding-type': 'url' });
  assert.deepEqual(names(page).map(decodeURIComponent), keys); // ali-oss leaves the decoding to its user
}

const names = (page) => (page.objects || []).map((object) => object.name);
const md5 = (body) => crypto.createHash('md5').update(body).digest('hex').toUpperCase();

function slice(body, start, end) {
  const part = body.subarray(start, end);
  return { stream: Readable.from([part]), size: part.length };
}

function same(got, wanted) {
  assert.ok(Buffer.compare(got, wanted) === 0, `got ${got.length} bytes, expected other ${wanted.length} bytes`);
}

async function refused(call, status, code) {
  const error = await call.then(() => new Error('succeeded'), (thrown) => thrown);
  assert.deepEqual([error.status, code ? error.code : undefined], [status, code], `${error}`);
}

/** A request by nothing but node, through the forward proxy if there is one. */
function plainly(method, url, body) {
  const target = new URL(url);
  const { hostname, port } = plan.http_proxy ? new URL(plan.http_proxy) : target;
  const path = plan.http_proxy ? url : url.slice(target.origin.length);
  return new Promise((resolve, reject) => {
    const headers = { Host: target.host, ...(body ? { 'Content-Length': body.length } : {}) };
    const request = http.request({ method, hostname, port, path, headers, timeout: 30000 }, async (answer) => {
      const text = Buffer.concat(await answer.toArray());
      return answer.statusCode === 200 ? resolve(text) : reject(new Error(`${answer.statusCode} ${text}`));
    });
    request.on('error', reject).end(body);
  });
}

Object.assign(operations, scoped(client, plan.bucket, { names, same, slice }));

async function main() {
  for (const operation of plan.operations) {
    const report = { operation, ok: true };
    try {
      const result = await operations[operation]();
      if (operation.startsWith('sign:')) Object.assign(report, result);
    } catch (error) {
      Object.assign(report, { ok: false, detail: `${error.name}: ${error.message} (status ${error.status})` });
    }
    console.log(JSON.stringify(report));
  }
}

main();
