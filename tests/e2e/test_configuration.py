"""greenarrow_config on whole files: the reference file is fine, and each way to break it is named by line, column and cause."""

import re
import subprocess

import pytest

from gatest import daemon

# The file of the design's chapter on greenarrow.conf, each statement on its own line. What belongs to a module that a
# tree does not hold (yet) is left out of it by `reference()`: the lines between "# module NAME" and "# end".
REFERENCE = r"""load_module spool
load_module queue
load_module route
load_module throttle
load_module smtp_server
load_module smtp_client
load_module transport_direct
# module transport_proxy
load_module transport_proxy
# end
# module tcp_rules
load_module tcp_rules
# end
# module service_log
load_module service_log
# end
# module smtp_log
load_module smtp_log
# end
# module delivery_log
load_module delivery_log
# end
# module bounce
load_module bounce
# end
# module queue_control
load_module queue_control
# end
general {
  hostname mail.example.com
  default_virtual_mta ip-1
  system_max_smtp_connections 5000
  queue_lifetime 2d
  dns_server 127.0.0.1:5300            # default: the system's resolvers
  workers auto
  run_as_user root                     # started as root: bind, then drop to it; `root` is accepted, with a warning
  queue_directory @FOLDER@/queue       # these five default to the installed layout
  log_directory @FOLDER@/log
  run_directory @FOLDER@/run
  control_directory @FOLDER@/control
  module_directory @MODULES@
}
smtp_service smtp2 {
  listen 127.0.0.1:587, [::1]:587
# module tcp_rules
  environment_file smtp2               # in the control directory: `export NAME=value` lines, read, never executed
  tcp_rules smtp.tcp                   # smtp.tcp.cdb in the control directory
# end
  tls_certificate_files tls/cert.pem, tls/key.pem
# module smtp_auth
  smtp_auth optional                   # off | optional | required
# end
  relay_from 127.0.0.0/8, [::1]        # who may relay without AUTH (the default); tcp_rules add to it
  max_connections 100
  max_message_size 50MiB
  max_recipients 1000
}
# module throttle_program
throttle_program gentle {
  deferral_rate 30%
  failure_rate 10%
  backoff_max_concurrent_connections 25%
  backoff_max_delivery_rate 10%
  return_after 30m
}
# end
throttle_template big {
  default_max_concurrent_connections 100
  rule google {
    domains gmail.com, mx:*.google.com
    max_concurrent_connections 20
    max_delivery_rate 7200/hr
# module throttle_program
    throttle_program gentle
# end
  }
}
ip_address ip-1 {
  mta_id 2
  smtp_source 127.0.0.2 mail1.example.com
  throttle_template big
  domain example.com {
    max_concurrent_connections 1
  }
}
relay_server upstream {
  mta_id 5
  destination 127.0.0.1:2525
  max_concurrent_connections 50
}
# module routing_rule
routing_rule pool {
  mta_id 6
  deliver_through ip-1 70, upstream 30
  randomization message
}
# end
ip_address * {
  starttls_use yes
  reuse_connections yes
  reuse_connections_max_messages 5
  reuse_connections_timeout 30s
  domain test.example {
    smtp_route 127.0.0.1:2526          # static next hop instead of MX
  }
# module smtp_log
  domain example.com {
    log_smtp_commands yes
  }
# end
}
"""
# What is not a module of its own but a part of one: the directive that shows that it is there.
PARTS = {"smtp_auth": "smtp_auth", "throttle_program": "deferral_rate", "routing_rule": "deliver_through"}


def known_directives():
    done = subprocess.run([str(daemon.program("greenarrow_config")), "directives"], capture_output=True, text=True, timeout=30, env=daemon.environment())
    return set(re.findall(r"(?m)^\s*(\w+)", done.stdout))


def reference(folder):
    there = {path.stem for path in daemon.module_directory().glob("*.so")}
    directives = known_directives()
    there |= {part for part, directive in PARTS.items() if directive in directives}
    kept, wanted = [], True
    for line in REFERENCE.splitlines():
        if line.startswith("# module "):
            wanted = line.split()[2] in there
        elif line == "# end":
            wanted = True
        elif wanted:
            kept.append(line)
    return "\n".join(kept).replace("@FOLDER@", str(folder)).replace("@MODULES@", str(daemon.module_directory())) + "\n"


@pytest.fixture
def place(tmp_path, certificate):
    for name in ("queue", "log", "run", "control", "control/tls"):
        (tmp_path / name).mkdir()
    for source, name in zip(certificate, ("cert.pem", "key.pem")):
        (tmp_path / "control/tls" / name).write_text(open(source).read())
    (tmp_path / "control/smtp2").write_text("export A=b\n")
    (tmp_path / "control/smtp.tcp").write_text(":allow\n")
    subprocess.run([str(daemon.program("hvmail_update_tcprules")), str(tmp_path / "control/smtp")], check=True, timeout=30)
    return tmp_path


def validate(place, text):
    path = place / "control" / "greenarrow.conf"
    path.write_text(text)
    return path, subprocess.run([str(daemon.program("greenarrow_config")), "validate", str(path)], capture_output=True, text=True, timeout=60,
                                env=daemon.environment(), cwd="/")


def test_the_reference_file_is_valid_and_validate_says_nothing(place):
    _, done = validate(place, reference(place))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# What is changed in the reference file, a piece of the line where the error has to be reported, and what the message has to name.
BROKEN = {
    "a misspelt directive, with the nearest name": (("starttls_use yes", "startls_use yes"), "startls_use", r"starttls_use"),
    "a value of the wrong type": (("max_recipients 1000", "max_recipients many"), "max_recipients many", r"many"),
    "a duration without its unit": (("queue_lifetime 2d", "queue_lifetime 2 weeks"), "queue_lifetime 2 weeks", r"queue_lifetime|weeks"),
    "an address that is none": (("smtp_source 127.0.0.2 mail1.example.com", "smtp_source 127.0.0.256 mail1.example.com"), "smtp_source", r"127\.0\.0\.256"),
    "a block that is not closed": (("  max_concurrent_connections 50\n}", "  max_concurrent_connections 50\n"), None, r"not closed|missing"),
    "a directive in the wrong block": (("  workers auto\n", "  workers auto\n  listen 127.0.0.1:25\n"), "  listen 127.0.0.1:25", r"listen"),
    "a module that is not there": (("load_module queue\n", "load_module queue\nload_module quue\n"), "load_module quue", r"quue"),
    "a name that nothing defines": (("default_virtual_mta ip-1", "default_virtual_mta ip-9"), "default_virtual_mta ip-9", r"ip-9"),
    "a limit of a template without default_": (("  default_max_concurrent", "  max_concurrent"), "  max_concurrent_connections 100", r"default_max_concurrent_connections"),
    "a domain in two rules": (("    domains gmail.com", "    domains x.example\n  }\n  rule more {\n    domains x.example, gmail.com"), "domains x.example, gmail.com", r"x\.example.*rule google.*:\d+"),
    "a template that is not there": (("  throttle_template big", "  throttle_template bug"), "  throttle_template bug", r"bug"),
    "two with the same mta_id": (("mta_id 5", "mta_id 2"), "mta_id 2", r"mta_id|2"),
    "a file that is missing": (("tls/cert.pem", "tls/none.pem"), "tls_certificate_files", r"none\.pem"),
    "a flag that is neither yes nor no": (("reuse_connections yes", "reuse_connections maybe"), "reuse_connections maybe", r"maybe"),
    "a CIDR that is none": (("relay_from 127.0.0.0/8,", "relay_from 127.0.0.0/80,"), "relay_from", r"127\.0\.0\.0/80"),
    "a string that does not end": (("hostname mail.example.com", "hostname \"mail.example.com"), "hostname", r"."),
    "an mx: pattern where the route is decided": (("domain test.example {\n    smtp_route", "domain mx:test.example {\n    smtp_route"), "smtp_route", r"mx:|smtp_route"),
    "an include that is missing": (("ip_address * {\n", "include none.conf\nip_address * {\n"), "include none.conf", r"none\.conf"),
    "a directive of a module that is not loaded": (("load_module throttle\n", ""), "max_concurrent_connections 1", r"load_module throttle"),
    "a port beyond 65535": (("127.0.0.1:587,", "127.0.0.1:65587,"), "listen", r"65587"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_by_line_column_and_cause(place, name):
    (old, new), where, cause = BROKEN[name]
    good = reference(place)
    assert good.count(old) >= 1, f"the reference file does not hold {old!r}"
    text = good.replace(old, new, 1)
    path, done = validate(place, text)
    assert done.returncode == 1 and done.stdout == ""
    lines = done.stderr.splitlines()
    found = [re.match(re.escape(str(path)) + r":(\d+):(\d+): (.+)", line) for line in lines]
    assert lines and all(found), f"not FILE:LINE:COLUMN: message: {done.stderr}"
    assert any(re.search(cause, one[3]) for one in found), done.stderr
    if where:
        numbers = [number for number, line in enumerate(text.splitlines(), 1) if where in line]
        assert any(int(one[1]) in numbers for one in found), f"{done.stderr}\nexpected on line {numbers}"
    for one in found:
        assert int(one[2]) <= len(text.splitlines()[int(one[1]) - 1]) + 1 if int(one[1]) <= len(text.splitlines()) else True


@pytest.mark.parametrize("old, new, closing, name, cause", [
    ("  throttle_template big\n", "  throttle_template big\n  redirect ip-1\n", "  redirect ip-1", "ip-1", "leads back to itself"),
    ("  throttle_template big\n", "  throttle_template big\n  redirect pool\n", "  deliver_through ip-1 70", "ip-1", "leads back to itself"),
    ("  randomization message\n", "  domain x.example {\n    deliver_through upstream 1, pool 1\n  }\n", "    deliver_through upstream 1, pool 1", "pool", "leads back to itself"),
    ("  throttle_template big\n", "  throttle_template big\n  redirect ip-9\n", "  redirect ip-9", "ip-9", "ip-9"),
    ("deliver_through ip-1 70, upstream 30", "deliver_through ip-1 70, ip-9 30", "  deliver_through ip-1 70, ip-9 30", "ip-9", "ip-9"),
    ("default_virtual_mta ip-1", "default_virtual_mta ip-9", "  default_virtual_mta ip-9", "ip-9", "ip-9"),
])
def test_a_virtual_mta_that_leads_nowhere_or_back_is_shown_where_it_is_named(place, old, new, closing, name, cause):
    text = reference(place).replace(old, new, 1)
    path, done = validate(place, text)
    line, = [number for number, one in enumerate(text.splitlines(), 1) if one.startswith(closing)]
    column = closing.index(name) + 1
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"{path}:{line}:{column}: ") and cause in done.stderr, done.stderr


def test_all_errors_of_a_file_are_told_in_one_run(place):
    text = reference(place).replace("starttls_use yes", "startls_use yes").replace("max_recipients 1000", "max_recipients many").replace("relay_from 127.0.0.0/8,", "relay_from nowhere,")
    _, done = validate(place, text)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 3, done.stderr


@pytest.mark.parametrize("name", ["a misspelt directive, with the nearest name", "a block that is not closed", "a module that is not there", "a file that is missing"])
def test_the_daemon_starts_nothing_with_a_broken_file(place, name):
    (old, new), _, cause = BROKEN[name]
    path = place / "control" / "greenarrow.conf"
    path.write_text(reference(place).replace(old, new, 1))
    done = subprocess.run([str(daemon.program("greenarrowd")), "--foreground", f"--config-filename={path}"], capture_output=True, text=True, timeout=60, env=daemon.environment())
    assert done.returncode == 1
    assert re.search(cause, done.stderr), done.stderr
    assert not list((place / "queue").iterdir()) and not list((place / "run").iterdir())


def test_show_names_file_and_line_of_each_setting(place):
    path = place / "control" / "greenarrow.conf"
    path.write_text(reference(place))
    done = subprocess.run([str(daemon.program("greenarrow_config")), "show", "--virtual-mta", "ip-1", "--domain", "test.example", f"--config-filename={path}"],
                          capture_output=True, text=True, timeout=60, env=daemon.environment())
    assert done.returncode == 0, done.stderr
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "smtp_route" in text)
    assert re.search(rf"(?m)^smtp_route 127\.0\.0\.1:2526 .*{re.escape(str(path))}:{line}\b", done.stdout), done.stdout


def test_show_names_the_rule_and_the_default_of_a_template(place):
    path = place / "control" / "greenarrow.conf"
    path.write_text(reference(place))
    line = {text.strip(): number for number, text in enumerate(path.read_text().splitlines(), 1)}

    def shown(domain, *more):
        done = subprocess.run([str(daemon.program("greenarrow_config")), "show", "--virtual-mta", "ip-1", "--domain", domain, *more, f"--config-filename={path}"],
                              capture_output=True, text=True, timeout=60, env=daemon.environment())
        assert done.returncode == 0, done.stderr
        return re.search(r"(?m)^max_concurrent_connections .*", done.stdout)[0]

    rule = rf"max_concurrent_connections 20 +# {re.escape(str(path))}:{line['max_concurrent_connections 20']}, rule google of throttle_template big"
    default = rf"max_concurrent_connections 100 +# {re.escape(str(path))}:{line['default_max_concurrent_connections 100']}, throttle_template big"
    assert re.fullmatch(rule, shown("gmail.com"))
    assert re.fullmatch(rule, shown("elsewhere.example", "--mx", "aspmx.l.google.com"))
    assert re.fullmatch(default, shown("elsewhere.example"))
    assert re.match(r"max_concurrent_connections 1 ", shown("example.com"))


def test_directives_tell_the_name_in_a_template():
    done = subprocess.run([str(daemon.program("greenarrow_config")), "directives", "throttle"], capture_output=True, text=True, timeout=30, env=daemon.environment())
    text = re.search(r"(?ms)^  max_concurrent_connections .*?^  \S", done.stdout)[0]
    assert "in a throttle_template: default_max_concurrent_connections; default 100" in text
    assert "default_id" not in done.stdout


def foreign_modules(place, text, names):
    """A module directory of the test's own with links to the real modules, and what NAMES maps to octets."""
    folder = place / "modules"
    folder.mkdir()
    for real in daemon.module_directory().iterdir():
        (folder / real.name).write_bytes(real.read_bytes())
        (folder / real.name).chmod(0o755)
    for name, octets in names.items():
        (folder / name).write_bytes(octets)
        (folder / name).chmod(0o755)
    return text.replace(f"module_directory {daemon.module_directory()}", f"module_directory {folder}"), folder


@pytest.mark.parametrize("octets", [b"", b"not a program\n", b"\x7fELF" + b"\0" * 100])
def test_a_file_that_is_no_module_is_refused_by_name(place, octets):
    text, _ = foreign_modules(place, "load_module odd\n" + reference(place), {"odd.so": octets})
    _, done = validate(place, text)
    assert done.returncode == 1 and "odd" in done.stderr


def test_a_library_that_is_no_module_of_ours_is_refused(place):
    import glob
    library = next(iter(glob.glob("/lib/x86_64-linux-gnu/libm.so.6") + glob.glob("/lib/*/libm.so.6") + glob.glob("/lib*/libm.so.6")))
    text, _ = foreign_modules(place, "load_module odd\n" + reference(place), {"odd.so": open(library, "rb").read()})
    _, done = validate(place, text)
    assert done.returncode == 1 and "odd" in done.stderr


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_module_that_others_may_write_is_refused(place, mode):
    text, folder = foreign_modules(place, reference(place), {})
    next(folder.glob("queue.so")).chmod(mode)
    _, done = validate(place, text)
    assert done.returncode == 1 and "queue" in done.stderr and re.search(r"writ", done.stderr), done.stderr


def test_a_module_directory_that_others_may_write_is_refused(place):
    text, folder = foreign_modules(place, reference(place), {})
    folder.chmod(0o777)
    _, done = validate(place, text)
    assert done.returncode == 1 and re.search(r"writ", done.stderr), done.stderr


def test_use_module_of_what_cannot_be_switched_is_refused(place):
    text = reference(place).replace("    max_concurrent_connections 1\n", "    max_concurrent_connections 1\n    use_module throttle no\n", 1)
    _, done = validate(place, text)
    assert done.returncode == 1 and re.search(r":\d+:\d+: .*throttle", done.stderr), done.stderr
    _, done = validate(place, text.replace("use_module throttle no", "use_module nothing no"))
    assert done.returncode == 1 and "nothing" in done.stderr
