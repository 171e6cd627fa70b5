"""The unmodified Python credential library of the vendor, against the emulator: one line of JSON for each source."""

import json
import os
import sys

import certifi

# Only the trusted certificates are replaced; the library is unmodified.
certifi.where = lambda: os.environ["CA_FILE"]

from alibabacloud_credentials.client import Client  # noqa: E402
from alibabacloud_credentials.models import Config  # noqa: E402

HOST, ROLE, TOKEN_FILE, URI = (os.environ[name] for name in ("STS_HOST", "ROLE", "TOKEN_FILE", "URI"))
WRONG = os.environ.get("WRONG", "")

CONFIGS = {
    "ram_role_arn": Config(type="ram_role_arn", access_key_id="LTAI5tBaseKeyId", access_key_secret="base-secret" + WRONG,
                           role_arn=ROLE, role_session_name="suite", sts_endpoint=HOST),
    "oidc_role_arn": Config(type="oidc_role_arn", role_arn=ROLE, oidc_provider_arn="acs:ram::1:oidc-provider/p",
                            oidc_token_file_path=TOKEN_FILE, role_session_name="suite", sts_endpoint=HOST),
    "credentials_uri": Config(type="credentials_uri", credentials_uri=URI),
    "ecs_ram_role": Config(type="ecs_ram_role", disable_imds_v1=True),
    "ecs_ram_role named": Config(type="ecs_ram_role", role_name="app", disable_imds_v1=True),
}


def main():
    for name, config in CONFIGS.items():
        try:
            given = Client(config).get_credential()
            result = {"id": given.access_key_id, "token": bool(given.security_token), "provider": given.provider_name}
        except Exception as error:  # any exception is a result
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"library": "alibabacloud_credentials", "source": name, **result}))
        sys.stdout.flush()


main()
