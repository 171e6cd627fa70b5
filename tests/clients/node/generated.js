// @alicloud/oss-client, which the vendor generates: one JSON line per call, one per result; see ../python/bridge.py.
// It escapes nothing, so keys are passed percent-encoded.
"use strict";

const crypto = require("crypto");
const fs = require("fs");
const readline = require("readline");
const { Readable } = require("stream");
const oss = require("@alicloud/oss-client");
const { RuntimeOptions } = require("@alicloud/tea-util");

const plan = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const client = new oss.default(new oss.Config({
  type: plan.security_token ? "sts" : "access_key",
  accessKeyId: plan.access_key_id,
  accessKeySecret: plan.access_key_secret,
  securityToken: plan.security_token,
  endpoint: new URL(plan.endpoint).host,
  regionId: plan.region,
  protocol: "http",
  hostModel: plan.addressing === "path" ? "ip" : undefined,
}));
const runtime = () => new RuntimeOptions({ autoretry: false });

const escaped = (key) => encodeURIComponent(key);
const bytes = (text) => Buffer.from(text, "base64");
const stream = (text) => Readable.from([bytes(text)]);
const list = (value) => (value === undefined ? [] : [].concat(value));

async function read(body) {
  const parts = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts).toString("base64");
}

const calls = {
  async put(call) {
    await client.putObject(new oss.PutObjectRequest({
      bucketName: call.bucket,
      objectName: escaped(call.key),
      body: stream(call.body),
    }), runtime());
  },
  put_stream: (call) => calls.put(call),
  async get(call) {
    const found = await client.getObject(new oss.GetObjectRequest({
      bucketName: call.bucket,
      objectName: escaped(call.key),
    }), runtime());
    return { status: 200, headers: {}, body: await read(found.body) };
  },
  async delete(call) {
    await client.deleteObject(new oss.DeleteObjectRequest({ bucketName: call.bucket, objectName: escaped(call.key) }), runtime());
  },
  async copy(call) {
    await client.copyObject(new oss.CopyObjectRequest({
      bucketName: call.bucket,
      destObjectName: escaped(call.key),
      header: new oss.CopyObjectRequestHeader({ copySource: `/${call.bucket}/${call.source}` }),
    }), runtime());
  },
  async initiate(call) {
    const started = await client.initiateMultipartUpload(new oss.InitiateMultipartUploadRequest({
      bucketName: call.bucket,
      objectName: escaped(call.key),
      filter: new oss.InitiateMultipartUploadRequestFilter({ encodingType: "url" }),
    }), runtime());
    return started.initiateMultipartUploadResult.uploadId;
  },
  async upload_part(call) {
    await client.uploadPart(new oss.UploadPartRequest({
      bucketName: call.bucket,
      objectName: escaped(call.key),
      filter: new oss.UploadPartRequestFilter({ partNumber: String(call.number), uploadId: call.upload }),
      body: stream(call.body),
    }), runtime());
    return crypto.createHash("md5").update(bytes(call.body)).digest("hex").toUpperCase(); // its result has no ETag
  },
  async list_parts(call) {
    const page = await client.listParts(new oss.ListPartsRequest({
      bucketName: call.bucket,
      objectName: escaped(call.key),
      filter: new oss.ListPartsRequestFilter({ uploadId: call.upload, maxParts: call.limit, partNumberMarker: call.after }),
    }), runtime());
    return list(page.listPartsResult.part).map((part) => Number(part.partNumber));
  },
  async complete(call) {
    await client.completeMultipartUpload(new oss.CompleteMultipartUploadRequest({
      bucketName: call.bucket,
      objectName: escaped(call.key),
      filter: new oss.CompleteMultipartUploadRequestFilter({ uploadId: call.upload }),
      body: new oss.CompleteMultipartUploadRequestBody({
        completeMultipartUpload: new oss.CompleteMultipartUploadRequestBodyCompleteMultipartUpload({
          part: call.parts.map(({ number, tag }) =>
            new oss.CompleteMultipartUploadRequestBodyCompleteMultipartUploadPart({ partNumber: String(number), eTag: tag })),
        }),
      }),
    }), runtime());
  },
  async abort(call) {
    await client.abortMultipartUpload(new oss.AbortMultipartUploadRequest({
      bucketName: call.bucket,
      objectName: escaped(call.key),
      filter: new oss.AbortMultipartUploadRequestFilter({ uploadId: call.upload }),
    }), runtime());
  },
};

async function answer(line) {
  const call = JSON.parse(line);
  try {
    return { value: await calls[call.method](call) };
  } catch (error) {
    const status = error.data?.httpCode;
    return status ? { status, code: error.code ?? "", message: error.message } : { error: `${error.stack}` };
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
  }
  process.exit(0);
})();
