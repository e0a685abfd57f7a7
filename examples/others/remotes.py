"""What agents that run elsewhere need: AIMS with endpoints over HTTPS, and keys of their own."""

import pathlib
import subprocess

import world as worlds
from world import free_port

HERE = pathlib.Path(__file__).resolve().parent


def start_with_endpoints(world):
    """Starts everything in one process, for agents that come over HTTPS."""
    make_certificate(world)
    worlds.write_config(world)
    world.oauth_port, world.agents_port = free_port(), free_port()
    world.issuer = f"https://localhost:{world.oauth_port}"
    world.resource = f"https://localhost:{world.agents_port}"
    tls = f'certificate = "{world.ca}"\nkey = "{world.dir}/home/web.key"\n'
    with open(world.config, "a", encoding="utf-8") as config:
        config.write(f"""
[oauth]
listen = "127.0.0.1:{world.oauth_port}"
issuer = "{world.issuer}"
resource = "{world.resource}"
[oauth.tls]
{tls}
[gateway.agents]
listen = "127.0.0.1:{world.agents_port}"
[gateway.agents.tls]
{tls}""")
    worlds.init(world)
    return worlds.start(world)


def make_certificate(world):
    world.ca = world.dir / "web.pem"
    key = world.dir / "home" / "web.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout",
                    str(key), "-out", str(world.ca)], check=True, capture_output=True)
    key.chmod(0o600)


def keygen(world, name):
    """A key that the agent makes and keeps; AIMS sees the public half."""
    key = world.dir / "home" / f"{name}.json"
    public = subprocess.run([world.peer_python, str(HERE / "agent.py"), "keygen", str(key)],
                            check=True, capture_output=True, text=True).stdout
    (world.dir / f"{name}.jwk").write_text(public)
    return key


def manifest(world, name, assurance="key_held"):
    path = world.dir / f"{name}.agent.toml"
    path.write_text(f"""\
name = "{name}"
owner = "alice"
purpose = "reads a history from another place"
environment = "development"

[remote]
assurance = "{assurance}"
keys = ["{world.dir}/{name}.jwk"]
""")
    return path
