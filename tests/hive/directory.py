# SPDX-License-Identifier: BSD-2-Clause
"""A real slapd on loopback without TLS, in a folder of its own, as whoever runs the tests."""
import pathlib
import shutil
import socket
import subprocess
import time

CONF = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
database mdb
suffix dc=example,dc=org
rootdn cn=root,dc=example,dc=org
rootpw rootsecret
directory {folder}/data
"""
LDIF = """dn: dc=example,dc=org
objectClass: domain
dc: example

dn: uid=ada,dc=example,dc=org
objectClass: inetOrgPerson
uid: ada
cn: Ada Lovelace
sn: Lovelace
mail: ada@example.org
userPassword: engine no 1

dn: uid=root,dc=example,dc=org
objectClass: inetOrgPerson
uid: root
cn: Not our root
sn: Root
userPassword: directory root

dn: cn=research,dc=example,dc=org
objectClass: groupOfNames
cn: research
member: uid=ada,dc=example,dc=org

dn: cn=science,dc=example,dc=org
objectClass: groupOfNames
cn: science
member: cn=research,dc=example,dc=org
"""


def why_not():
    missing = [word for word in ("slapadd", "slapd", "ldapmodify") if not shutil.which(word, path="/usr/sbin:/usr/bin")]
    return f"{', '.join(missing)} not installed" if missing else None


class Directory:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "data").mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"ldap://127.0.0.1:{self.port}"
        (self.folder / "slapd.conf").write_text(CONF.format(folder=self.folder))
        (self.folder / "all.ldif").write_text(LDIF)
        subprocess.run(["/usr/sbin/slapadd", "-q", "-f", self.folder / "slapd.conf", "-l", self.folder / "all.ldif"], check=True)
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/slapd", "-f", self.folder / "slapd.conf", "-h", self.uri, "-d", "0"],
                                        stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("slapd does not listen")

    def change(self, text):
        subprocess.run(["ldapmodify", "-x", "-H", self.uri, "-D", "cn=root,dc=example,dc=org", "-w", "rootsecret"], input=text, text=True,
                       check=True, capture_output=True)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
