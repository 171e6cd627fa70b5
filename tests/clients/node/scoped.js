// The operations of a caller who is limited to keys that begin with `a/`: those below it pass, all others are denied.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');

const FOREIGN = 'b/kept'; // the driver has stored it, and thousand keys below `a/many/`
const MANY = Array.from({ length: 1000 }, (_, number) => `a/many/${String(number).padStart(4, '0')}`);

/** Expects that the SDK reports code, message and request id of a denial. */
async function denied(call, action) {
  const error = await call.then(() => new Error('succeeded'), (thrown) => thrown);
  assert.deepEqual([error.status, error.code], [403, 'AccessDenied'], `${error}`);
  assert.match(error.message, new RegExp(`\\b${action}\\b`));
  assert.match(error.requestId, /^[0-9A-F]{24}$/);
}

module.exports = (client, bucket, { names, same, slice }) => ({
  async 'scoped-put'() {
    await client.put('a/put', Buffer.from('own'));
    await denied(client.put('b/put', Buffer.from('x')), 'oss:PutObject');
    await denied(client.put('a', Buffer.from('x')), 'oss:PutObject');
  },
  async 'scoped-get'() {
    await client.put('a/get', Buffer.from('own'));
    same((await client.get('a/get')).content, Buffer.from('own'));
    await denied(client.get(FOREIGN), 'oss:GetObject');
  },
  async 'scoped-head'() {
    await client.put('a/head', Buffer.from('own'));
    assert.equal((await client.head('a/head')).res.headers['content-length'], '3');
    await denied(client.head(FOREIGN), 'oss:GetObject');
  },
  async 'scoped-copy'() {
    await client.put('a/source', Buffer.from('own'));
    await client.copy('a/copy', 'a/source');
    same((await client.get('a/copy')).content, Buffer.from('own'));
    await denied(client.copy('a/stolen', FOREIGN), 'oss:GetObject');
    await denied(client.copy('b/copy', 'a/source'), 'oss:PutObject');
  },
  async 'scoped-list'() {
    await client.put('a/list/one', Buffer.from('own'));
    for (const list of [(query) => client.list(query), (query) => client.listV2(query)]) {
      assert.deepEqual(names(await list({ prefix: 'a/list/' })), ['a/list/one']);
      // With V4 its canonical request has `prefix=` for an empty prefix, which OSS does not accept.
      for (const query of [{}, { prefix: 'b/' }, { prefix: 'a' }]) await denied(list(query), 'oss:ListObjects');
    }
  },
  async 'scoped-multipart'() {
    const [key, source, body] = ['a/parts', 'a/part source', crypto.randomBytes(100 * 1024)];
    await client.put(source, body);
    const { uploadId } = await client.initMultipartUpload(key);
    const copyPart = (from, number, range) => client.uploadPartCopy(key, uploadId, number, range, { sourceBucketName: bucket, sourceKey: from });
    const parts = [
      { number: 1, etag: (await client._uploadPart(key, uploadId, 1, slice(body, 0, body.length))).etag },
      { number: 2, etag: (await copyPart(source, 2, '10-99')).etag },
    ];
    await denied(copyPart(FOREIGN, 3, '0-1'), 'oss:GetObject');
    assert.equal((await client.listParts(key, uploadId, {})).parts.length, 2);
    await client.completeMultipartUpload(key, uploadId, parts);
    same((await client.get(key)).content, Buffer.concat([body, body.subarray(10, 100)]));
    await denied(client.initMultipartUpload('b/parts'), 'oss:PutObject');
    await denied(client._uploadPart('b/parts', uploadId, 1, slice(body, 0, body.length)), 'oss:PutObject');
  },
  async 'scoped-delete'() {
    await client.put('a/delete', Buffer.from('own'));
    await client.delete('a/delete');
    assert.deepEqual(names(await client.listV2({ prefix: 'a/delete' })), []);
    await denied(client.delete(FOREIGN), 'oss:DeleteObject');
  },
  async 'scoped-delete-many'() {
    await denied(client.deleteMulti([...MANY.slice(0, -1), FOREIGN]), 'oss:DeleteObject');
    assert.deepEqual(names(await client.listV2({ prefix: 'a/many/', 'max-keys': 1000 })), MANY);
    await client.deleteMulti(MANY);
    assert.deepEqual(names(await client.listV2({ prefix: 'a/many/', 'max-keys': 1000 })), []);
  },
});
