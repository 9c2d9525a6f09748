"""A real Kafka broker in KRaft mode, from the jars that tools/servers.sh fetches."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # it does not list what it exports
    AdminClient,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from tests.servers.processes import absent, free_ports, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

JARS = Path(__file__).parents[2] / ".servers" / "kafka"
USER, PASSWORD = "ada", "analytical-engine"
_JAVA = (
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
_STORE_PASSWORD = "changeit"
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_{user}="{password}";
ssl.keystore.type=PKCS12
ssl.keystore.location={keystore}
ssl.keystore.password={store_password}
"""


@dataclass(frozen=True)
class KafkaServer:
    """A broker that runs.

    Attributes:
        servers: host:port without encryption.
        secure: host:port that asks for TLS and for `USER` and `PASSWORD`.
        certificate: What the broker's certificate is checked with.
        admin: A client that changes topics.
        command: What runs it.
        processes: Those that were started, the last one last.
    """

    servers: str
    secure: str
    certificate: Path
    admin: AdminClient
    command: Sequence[str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic."""
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions."""
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(30)

    def produce(self, topic: str, partition: int, values: Sequence[bytes | None], **options: Any) -> None:
        """Append messages and wait until the broker has them."""
        failed: list[Any] = []
        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 0, **options})

        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                failed.append(error)

        for value in values:
            producer.produce(topic, value, partition=partition, on_delivery=delivered)
        assert producer.flush(30) == 0
        assert failed == []

    def end(self, topic: str, partition: int) -> int:
        """Return the offset after the newest message."""
        target = TopicPartition(topic, partition)
        newest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return int(self.admin.list_offsets({target: newest})[target].result(30).offset)

    def transact(self, topic: str, partition: int, values: Sequence[bytes], *, commit: bool) -> None:
        """Append messages in a transaction of their own."""
        producer = Producer({"bootstrap.servers": self.servers, "transactional.id": uuid.uuid4().hex})
        producer.init_transactions(30)
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=partition)
        producer.flush(30)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    def kill(self) -> None:
        """Stop it without a chance to say goodbye."""
        self.processes[-1].kill()
        self.processes[-1].wait()

    @contextmanager
    def again(self, directory: Path) -> Iterator[None]:
        """Run it, after `kill`, with the data that it had."""
        with running("kafka", self.command, directory / "again.log", lambda: _answers(self)) as process:
            self.processes.append(process)
            yield

    def truncate(self, topic: str, partition: int, before: int) -> None:
        """Delete the messages before an offset."""
        target = TopicPartition(topic, partition, before)
        self.admin.delete_records([target])[target].result(30)


@contextmanager
def kafka_broker(directory: Path) -> Iterator[KafkaServer]:
    """Run a broker with its data in `directory`."""
    java, keytool = shutil.which("java"), shutil.which("keytool")
    if java is None or keytool is None:
        absent("Kafka", "java and keytool are not on the PATH")
    if not any(JARS.glob("kafka_*.jar")):
        absent("Kafka", f"{JARS} holds no broker")
    plain, secure, controller = free_ports(3)
    certificate = _certificate(keytool, directory)
    properties = directory / "server.properties"
    properties.write_text(
        _PROPERTIES.format(
            plain=plain,
            secure=secure,
            controller=controller,
            data=directory / "data",
            user=USER,
            password=PASSWORD,
            keystore=directory / "broker.p12",
            store_password=_STORE_PASSWORD,
        )
    )
    run = [java, *_JAVA, "-cp", f"{JARS}/*"]
    _quiet([*run, "kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", str(properties)])
    servers = f"127.0.0.1:{plain}"
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    server = KafkaServer(servers, f"127.0.0.1:{secure}", certificate, admin, [*run, "kafka.Kafka", str(properties)])
    with running("kafka", server.command, directory / "broker.log", lambda: _answers(server)) as process:
        server.processes.append(process)
        yield server


def _answers(server: KafkaServer) -> bool:
    try:
        return bool(server.admin.list_topics(timeout=0.5).brokers)
    except KafkaException:
        return False


def _certificate(keytool: str, directory: Path) -> Path:
    """Make the broker's key, and return its certificate."""
    store = ["-storetype", "PKCS12", "-keystore", str(directory / "broker.p12"), "-storepass", _STORE_PASSWORD]
    name = ["-dname", "CN=127.0.0.1", "-ext", "SAN=IP:127.0.0.1", "-validity", "2"]
    _quiet([keytool, "-genkeypair", "-alias", "broker", "-keyalg", "EC", *store, *name])
    certificate = directory / "broker.pem"
    _quiet([keytool, "-exportcert", "-rfc", "-alias", "broker", "-file", str(certificate), *store])
    return certificate


def _quiet(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
