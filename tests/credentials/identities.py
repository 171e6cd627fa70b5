"""The identities of callers that are made anew for each run: JSON Web Tokens, and client certificates."""

import json
import ssl
import subprocess
import time
from base64 import urlsafe_b64encode

ISSUER, AUDIENCE, SUBJECT = "https://issuer.example", "oss-signing-proxy", "system:serviceaccount:team-b:uploader"
CERTIFICATE_NAME = "team-c.example"


class Identities:
    """A key of an issuer with its JWK set, and an authority with the certificate of a client, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.jwks, self.authority = folder / "jwks.json", folder / "clients-ca.pem"
        openssl("genrsa", "-out", folder / "issuer-key.pem", "2048")
        modulus = openssl("rsa", "-in", folder / "issuer-key.pem", "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "suite", "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}
        self.jwks.write_text(json.dumps({"keys": [key]}), encoding="utf-8")
        extensions = folder / "client.ext"
        extensions.write_text(f"extendedKeyUsage=clientAuth\nsubjectAltName=DNS:{CERTIFICATE_NAME}\n", encoding="utf-8")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=clients",
                "-keyout", folder / "clients-ca-key.pem", "-out", self.authority)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=team-c", "-keyout", folder / "client-key.pem", "-out", folder / "client.csr")
        openssl("x509", "-req", "-in", folder / "client.csr", "-CA", self.authority, "-CAkey", folder / "clients-ca-key.pem", "-CAcreateserial",
                "-days", "2", "-extfile", extensions, "-out", folder / "client.pem")

    def token(self):
        """Returns a JSON Web Token of the caller, as an issuer signs it."""
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "exp": int(time.time()) + 3600}
        text = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "suite"}, claims))
        return f"{text}.{encoded(openssl('dgst', '-sha256', '-sign', self.folder / 'issuer-key.pem', text=text.encode()))}"

    def client_context(self, server_certificate):
        """Returns the TLS settings of a client that presents its certificate."""
        context = ssl.create_default_context(cafile=server_certificate)
        context.load_cert_chain(self.folder / "client.pem", self.folder / "client-key.pem")
        return context


def openssl(*arguments, text=None):
    return subprocess.run(["openssl", *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=60).stdout


def encoded(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()
