"""Makes the keys of a repository of restic's cheap: cheap-keys.py DIRECTORY-OF-KEYS, its password in RESTIC_PASSWORD.

Each call of restic derives the key that opens a repository from its password, on purpose slowly: 0.1 to 0.5 s of processor time, six
times what else a small call does (measured), which was most of what the tests did. The master key is taken out of each key file and
locked up again with the least that scrypt takes. Formats: restic's doc/design.rst, "Keys, Encryption and MAC".
"""
import base64, hashlib, json, os, subprocess, sys


def aes(mode, key, data, *options):
    command = ["openssl", "enc", "-" + mode, "-nopad", "-K", key.hex(), *options]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def derived(file, password):
    salt = base64.b64decode(file["salt"])
    return hashlib.scrypt(password, salt=salt, n=file["N"], r=file["r"], p=file["p"], dklen=64, maxmem=1 << 30)


def mac(key, nonce, text):
    """Poly1305-AES."""
    r = int.from_bytes(key[48:], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for i in range(0, len(text), 16):
        total = (total + int.from_bytes(text[i : i + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    s = int.from_bytes(aes("aes-128-ecb", key[32:48], nonce), "little")
    return ((total + s) % (1 << 128)).to_bytes(16, "little")


directory, password = sys.argv[1], os.environb[b"RESTIC_PASSWORD"]
for name in os.listdir(directory):
    path = os.path.join(directory, name)
    with open(path, encoding="utf-8") as source:
        file = json.load(source)
    if file["N"] == 2:
        continue
    data = base64.b64decode(file["data"])
    nonce, text, tag = data[:16], data[16:-16], data[-16:]
    key = derived(file, password)
    if mac(key, nonce, text) != tag:
        continue  # of another password
    master = aes("aes-256-ctr", key[:32], text, "-iv", nonce.hex())
    file.update(N=2, r=8, p=1)
    key = derived(file, password)
    text = aes("aes-256-ctr", key[:32], master, "-iv", nonce.hex())
    file["data"] = base64.b64encode(nonce + text + mac(key, nonce, text)).decode()
    content = json.dumps(file).encode()
    # A key file's name is the hash of its content.
    with open(os.path.join(directory, hashlib.sha256(content).hexdigest()), "wb") as target:
        os.fchmod(target.fileno(), os.stat(path).st_mode)
        target.write(content)
    os.remove(path)
