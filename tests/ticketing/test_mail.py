"""Incidents at a desk behind a mailbox, over real SMTP."""

import re
import time
from collections import deque
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from tenancy.models import Team
from tests.ticketing.conftest import clear, deliver, last_error, mail_settings, operations, report
from tests.ticketing.smtp import DROP, Mailbox, free_port, raw_server, serving
from ticketing.desks.email import session
from ticketing.models import Desk, Ticket, TicketOperation
from ticketing.services import desk_create, desk_update, ticket_retry


def text_of(mailbox: Mailbox, number: int, kind: str = "plain") -> str:
    body = mailbox.mails[number].get_body((kind,))
    assert body
    return str(body.get_content()).replace("\r\n", "\n")


def test_one_incident_is_one_mail_however_often_it_is_reported(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    for _ in range(3):
        incident = report()
        deliver(scope)
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[red] Link R2 – R4 is down"
    assert mail["X-Netops-Incident"] == f"red/{incident.pk}/1"
    assert (mail["From"], mail["To"], mail["Auto-Submitted"]) == (
        "netops@example.org",
        "noc@example.org",
        "auto-generated",
    )
    for kind in ("plain", "html"):
        text = text_of(mailbox, 0, kind)
        for said in ("4 of 8 paths are down", "dev1 R1 R2 R4 dev2", "R2 → R4", f"/t/red/incidents/{incident.pk}/"):
            assert said in text, (kind, said)
    ticket = Ticket.objects.get()
    assert (ticket.state, ticket.remote_id) == ("open", mail["Message-ID"])


def test_note_and_recovery_are_in_the_same_thread(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    report()
    deliver(scope)
    report(title="Link R2 → R4 is down, one way", reason="the way back passes")
    deliver(scope)
    clear()
    deliver(scope)
    deliver(scope, wait=True)
    first, note, recovery = mailbox.mails
    for later in (note, recovery):
        assert later["References"] == later["In-Reply-To"] == first["Message-ID"]
        assert later["Subject"] == f"Re: {first['Subject']}"
    assert len(set(mailbox.header("Message-ID"))) == 3
    assert text_of(mailbox, 1).startswith("Now: Link R2 → R4 is down, one way")
    assert text_of(mailbox, 2).startswith("Recovered: Link R2 → R4 is down, one way\n\nprobes pass again")
    assert Ticket.objects.get().state == "resolved"


def test_a_reopened_incident_is_a_new_thread(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    report()
    clear()
    report()
    deliver(scope)
    assert len(mailbox.mails) == 3
    assert mailbox.mails[2]["References"] is None
    assert mailbox.mails[2]["Message-ID"] != mailbox.mails[0]["Message-ID"]
    assert [str(key).rpartition("/")[2] for key in mailbox.header("X-Netops-Incident")] == ["1", "1", "2"]


def test_threads_hold_with_long_host_names(desk: Desk, scope: Team, mailbox: Mailbox, settings: object) -> None:
    settings.PUBLIC_URL = "https://netops.monitoring.a-company-with-quite-a-long-name.example.com"  # type: ignore[attr-defined]
    report()
    clear()
    deliver(scope)
    first, recovery = (raw.decode("ascii") for raw in mailbox.raw)
    (own_id,) = re.findall(r"^Message-ID: (<\S+@netops\.monitoring\.\S+>)\r$", first, re.MULTILINE)
    assert re.search(rf"^References: {re.escape(own_id)}\r$", recovery, re.MULTILINE)


def test_a_server_that_was_away_gets_it_once(scope: Team) -> None:
    port = free_port()
    desk_create(name="mail", driver="email", settings=mail_settings(port))
    report()
    deliver(scope)
    operation = TicketOperation.objects.get()
    assert (operation.state, operation.attempts) == ("pending", 1)
    assert operation.not_before > timezone.now()
    assert "Connection refused" in operation.error
    with serving(Mailbox(), port) as mailbox:
        assert deliver(scope) == 0
        deliver(scope, wait=True)
        deliver(scope, wait=True)
        assert len(mailbox.mails) == 1
    operation.refresh_from_db()
    assert (operation.state, operation.error) == ("done", "")


def test_a_lost_answer_is_repeated_under_the_same_message_id(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    mailbox.data.append(DROP)
    report()
    deliver(scope)
    assert operations() == [("create", "pending")]
    deliver(scope, wait=True)
    assert operations() == [("create", "done")]
    assert len(mailbox.mails) == 2
    assert len(set(mailbox.header("Message-ID"))) == 1


def test_a_connection_lost_after_the_last_answer_is_a_delivery(scope: Team) -> None:
    def talk(connection: object) -> None:
        file = connection.makefile("rwb", buffering=0)  # type: ignore[attr-defined]
        file.write(b"220 x\r\n")
        for line in file:
            if line == b"DATA\r\n" or line == b"data\r\n":
                file.write(b"354 go\r\n")
                while file.readline() != b".\r\n":
                    pass
                file.write(b"250 OK\r\n")
                return
            file.write(b"250 OK\r\n")

    with raw_server(talk) as port:
        desk_create(name="mail", driver="email", settings=mail_settings(port))
        report()
        deliver(scope)
        assert operations() == [("create", "done")]


def test_a_temporary_no_is_retried(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    mailbox.data.extend(["451 try later", "452 disk full", "421 going down"])
    report()
    for said in ("451 try later", "452 disk full", "421 going down"):
        deliver(scope, wait=True)
        assert operations() == [("create", "pending")]
        assert said in last_error()
    deliver(scope, wait=True)
    assert operations() == [("create", "done")]
    assert len(mailbox.mails) == 1


def test_a_final_no_is_kept_with_its_sentence_until_somebody_retries(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    mailbox.data.append("554 we do not want this\x1b[2J")
    report()
    clear()
    deliver(scope, wait=True)
    assert operations() == [("create", "dead"), ("resolve", "dead")]
    assert TicketOperation.objects.get(verb="create").error == "127.0.0.1 says: 554 we do not want this [2J"
    assert TicketOperation.objects.get(verb="resolve").error.startswith("The desk never got this ticket: ")
    assert Ticket.objects.get().state == "dead"
    deliver(scope, wait=True)
    assert mailbox.mails == []
    assert ticket_retry(ticket=Ticket.objects.get()) == 2
    deliver(scope)
    assert [mail["References"] is None for mail in mailbox.mails] == [True, False]
    assert Ticket.objects.get().state == "resolved"
    assert ticket_retry(ticket=Ticket.objects.get()) == 0


def test_the_order_of_a_ticket_holds_while_its_first_operation_waits(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    mailbox.data.append("451 later")
    report()
    clear()
    deliver(scope)
    assert operations() == [("create", "pending"), ("resolve", "pending")]
    assert deliver(scope) == 0
    deliver(scope, wait=True)
    assert [mail["References"] is None for mail in mailbox.mails] == [True, False]


def test_recipients_that_were_refused_for_now_get_it_later_and_the_others_once(scope: Team, mailbox: Mailbox) -> None:
    people = ["now@example.org", "later@example.org", "never@example.org"]
    mailbox.rcpt["later@example.org"] = deque(["450 greylisted"])
    mailbox.rcpt["never@example.org"] = deque(["550 unknown", "550 unknown"])
    desk_create(name="mail", driver="email", settings=mail_settings(mailbox.port, to=people))
    report()
    deliver(scope)
    assert operations() == [("create", "pending")]
    deliver(scope, wait=True)
    assert operations() == [("create", "done")]
    assert mailbox.recipients == [["now@example.org"], ["later@example.org"]]


def test_a_recipient_refused_for_good_is_a_remark(scope: Team, mailbox: Mailbox) -> None:
    mailbox.rcpt["never@example.org"] = deque(["550 unknown"])
    to = ["now@example.org", "never@example.org"]
    desk_create(name="mail", driver="email", settings=mail_settings(mailbox.port, to=to))
    report()
    deliver(scope)
    assert operations() == [("create", "done")]
    assert last_error() == "never@example.org was refused: 127.0.0.1 says: 550 unknown"


@pytest.mark.parametrize(
    "title",
    [
        "down\r\nBcc: evil@example.org\r\n\r\n<h1>body</h1>",
        "=?utf-8?q?a=0D=0ABcc:_evil@example.org?= down",
        "<script>alert(1)</script> & {{ settings.SECRET_KEY }} {% include 'x' %}",
        "x" * 10_000,
        "ü–→" * 4000,
        "\x00\x07\x1b[31mred\u202e\ud800\u2028",
        "",
        ".",
    ],
)
def test_hostile_titles_stay_inside_their_place(title: str, desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    evidence = {"paths": [{"text": title, "state": title}, title, 7], "direction": title, title or "x": title}
    report(title=title, reason=title, evidence=evidence)
    deliver(scope)
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None
    assert mailbox.recipients == [["noc@example.org"]]
    headers = mailbox.raw[0].partition(b"\r\n\r\n")[0]
    names = re.findall(rb"^([\w-]+):", headers, re.MULTILINE)
    assert len(names) == len(set(names))
    assert b"bcc" not in {name.lower() for name in names}
    assert all(len(line) <= 998 for line in mailbox.raw[0].split(b"\r\n"))
    html = text_of(mailbox, 0, "html")
    assert "<script>" not in html
    assert "<h1>" not in html
    assert len(mailbox.raw[0]) < 200_000


def test_settings_are_checked_with_a_sentence_for_each_field(scope: Team) -> None:
    good = mail_settings(2525)
    for field, value in [
        ("host", ""),
        ("host", "10.1.2.3"),
        ("host", "no such host"),
        ("host", ["127.0.0.1"]),
        ("host", "a\r\nb"),
        ("port", "25"),
        ("port", 70000),
        ("port", True),
        ("security", "ssl"),
        ("security", []),
        ("sender", "nobody"),
        ("sender", "a@example.org\nBcc: b@example.org"),
        ("sender", None),
        ("to", []),
        ("to", "noc@example.org"),
        ("to", ["noc@example.org", 5]),
        ("to", ["ä@example.org"]),
        ("to", ["a@example.org"] * 21),
        ("username", "only"),
        ("colour", "blue"),
    ]:
        with pytest.raises(ValidationError) as refused:
            desk_create(name="mail", driver="email", settings={**good, field: value})
        assert set(refused.value.message_dict) == {"password" if field == "username" else field}, (field, value)
    with pytest.raises(ValidationError) as refused:
        desk_create(name="mail", driver="pigeon", settings={})
    assert refused.value.message_dict["driver"] == ["'pigeon' is not a driver: use one of email."]
    assert not Desk.objects.exists()


def test_a_changed_desk_keeps_its_secret_and_its_checks(desk: Desk, mailbox: Mailbox) -> None:
    given = mail_settings(mailbox.port, username="u", password="hunter2")
    desk_update(desk=desk, settings=given)
    desk_update(desk=desk, settings={**given, "password": ""}, name="other")
    desk.refresh_from_db()
    assert (desk.name, desk.secrets["password"], desk.enabled) == ("other", "hunter2", True)
    with pytest.raises(ValidationError):
        desk_update(desk=desk, settings=mail_settings(mailbox.port, host="10.0.0.1"))
    desk_update(desk=desk, enabled=False)
    desk.refresh_from_db()
    assert (desk.enabled, desk.settings["host"]) == (False, "127.0.0.1")


def test_the_host_is_judged_again_when_sending(desk: Desk, scope: Team, mailbox: Mailbox, settings: object) -> None:
    report()
    settings.OUTBOUND_ALLOW = []  # type: ignore[attr-defined]
    deliver(scope)
    assert operations() == [("create", "pending")]
    assert "private address" in last_error()
    assert mailbox.mails == []


def test_a_desk_that_was_switched_off_is_told_nothing(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    report()
    desk_update(desk=desk, enabled=False)
    deliver(scope)
    assert operations() == [("create", "dead")]
    assert last_error() == "The desk is switched off."
    assert mailbox.mails == []


def test_a_bug_while_sending_is_no_poison(
    desk: Desk, scope: Team, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ticketing.desks.email.compose", lambda *_: 1 / 0)
    report()
    deliver(scope)
    assert operations() == [("create", "pending")]
    assert "ZeroDivisionError" in last_error()


def test_the_password_is_used_and_never_told(scope: Team, caplog: pytest.LogCaptureFixture) -> None:
    mailbox = Mailbox(password=b"hunter2-correct")
    with serving(mailbox, auth_require_tls=False):
        given = mail_settings(mailbox.port, username="netops", password="hunter2-correct")
        desk = desk_create(name="mail", driver="email", settings=given)
        mailbox.data.append("554 your password is hunter2-correct")
        report()
        deliver(scope)
        assert last_error() == "127.0.0.1 says: 554 your password is ***"
        assert len(mailbox.logins) == 1
        desk_update(desk=desk, settings={**given, "password": "hunter2-wrong"})
        report(element="link:2")
        deliver(scope)
    assert last_error() == f"127.0.0.1:{mailbox.port} refused the user name or the password (535)."
    assert "hunter2" not in caplog.text
    assert "hunter2" not in "".join(TicketOperation.objects.values_list("error", flat=True))


def test_a_server_that_drips_is_cut_at_the_deadline(scope: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "TIMEOUT_S", 1.0)

    def talk(connection: object) -> None:
        for _ in range(600):
            connection.sendall(b"2")  # type: ignore[attr-defined]
            time.sleep(0.1)

    with raw_server(talk) as port:
        desk_create(name="mail", driver="email", settings=mail_settings(port))
        report()
        deliver(scope)
    assert "too slow" in last_error()
    assert operations() == [("create", "pending")]


def test_an_answer_without_end_is_cut(scope: Team) -> None:
    def talk(connection: object) -> None:
        while True:
            connection.sendall(b"220-welcome\r\n" * 1000)  # type: ignore[attr-defined]

    with raw_server(talk) as port:
        desk_create(name="mail", driver="email", settings=mail_settings(port))
        report()
        deliver(scope)
    assert "its answer has no end" in last_error()


@pytest.mark.parametrize(
    "said", [b"", b"\xff\xfe\x00garbage\r\n", b"SSH-2.0-OpenSSH\r\n", b"220 hi\r\n", b"554 no\r\n"]
)
def test_what_is_no_mail_server_is_a_sentence(said: bytes, scope: Team) -> None:
    with raw_server(lambda connection: connection.sendall(said)) as port:
        desk_create(name="mail", driver="email", settings=mail_settings(port))
        report()
        deliver(scope)
    assert operations() == [("create", "pending")]
    assert last_error().isprintable()


def test_a_desk_in_trouble_holds_one_worker_at_most(scope: Team) -> None:
    desk = desk_create(name="mail", driver="email", settings=mail_settings(free_port()))
    for number in range(4):
        report(element=f"link:{number}")
    deliver(scope)
    # The first failure held the other tickets back.
    assert sorted(TicketOperation.objects.values_list("attempts", flat=True)) == [0, 0, 0, 1]
    assert TicketOperation.objects.filter(not_before__lte=timezone.now()).count() == 0
    first = Ticket.objects.earliest("id")
    Ticket.objects.filter(pk=first.pk).update(lease_until=timezone.now() + timedelta(seconds=60))
    with serving(Mailbox(), desk.settings["port"]) as mailbox:
        assert deliver(scope, wait=True) == 0
        Ticket.objects.update(lease_until=None)
        deliver(scope, wait=True)
        assert len(mailbox.mails) == 4


def test_it_is_given_up_after_days(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    mailbox.data.append("451 later")
    report()
    TicketOperation.objects.update(created=timezone.now() - timedelta(days=5, minutes=1))
    deliver(scope)
    assert operations() == [("create", "dead")]
    assert last_error().startswith("Given up after 5 days: ")


def test_no_driver_no_traceback(desk: Desk, scope: Team) -> None:
    Desk.objects.update(driver="gone")
    report()
    deliver(scope)
    assert last_error() == "The driver 'gone' is not installed."
