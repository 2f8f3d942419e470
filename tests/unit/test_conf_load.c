/*
 * test_conf_load.c - greenarrow.conf: what is accepted, and what is said about the rest
 *
 * Each broken text is checked for line, column and message of everything that
 * was said, so that neither a missing nor an additional message goes unseen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf_tree.h"
#include "conf_fixture.h"

/* The reports as "line:column: message\n"; warnings marked as printed. */
static char *said(const char *text)
{
	struct gac_conf_options o = fx_options("t.conf", text);
	struct ga_diag *diag = gac_diag_new();
	struct gac_conf *conf = gac_conf_load(&o, diag);
	char *out = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&out, &size);
	const struct gac_report *r;
	size_t n = gac_diag_reports(diag, &r);

	for (size_t i = 0; i < n; i++)
		fprintf(f, "%u:%u: %s%s\n", r[i].pos.line, r[i].pos.column, r[i].error ? "" : "warning: ",
		    r[i].message);
	fclose(f);
	assert_int_equal(conf == NULL, gac_diag_errors(diag) > 0);
	gac_conf_free(conf);
	gac_diag_free(diag);
	return out;
}

static void expect_lines(const char *text, const char *expected)
{
	char *got = said(text);

	if (strcmp(got, expected) != 0)
		print_error("for\n%s\nexpected\n%sgot\n%s", text, expected, got);
	assert_true(strcmp(got, expected) == 0);
	free(got);
}

/* With all modules loaded on line 1 and 2; the text begins on line 3. */
static void expect(const char *text, const char *expected)
{
	char *all = malloc(strlen(fx_load_all) + strlen(text) + 1);

	strcpy(all, fx_load_all);
	strcat(all, text);
	expect_lines(all, expected);
	free(all);
}

static const char reference[] =
    "load_module spool\nload_module queue\nload_module route\nload_module throttle\n"
    "load_module smtp_server\nload_module smtp_client\nload_module transport_direct\n"
    "load_module transport_proxy\nload_module tcp_rules\nload_module service_log\n"
    "load_module smtp_log\nload_module delivery_log\nload_module bounce\nload_module queue_control\n"
    "general {\n"
    "  hostname mail.example.com\n"
    "  default_virtual_mta ip-1\n"
    "  system_max_smtp_connections 5000\n"
    "  queue_lifetime 2d\n"
    "  dns_server 127.0.0.1:5300            # default: the system's resolvers\n"
    "  workers auto\n"
    "  run_as_user greenarrow               # started as root: bind, then drop to it\n"
    "  queue_directory /var/hvmail/queue    # these five default to the installed layout\n"
    "  log_directory /var/hvmail/log\n"
    "  run_directory /var/hvmail/run\n"
    "  control_directory /var/hvmail/control\n"
    "  module_directory /var/hvmail/lib/greenarrow/modules\n"
    "}\n"
    "smtp_service smtp2 {\n"
    "  listen 127.0.0.1:587, [::1]:587\n"
    "  environment_file smtp2               # in the control directory\n"
    "  tcp_rules smtp.tcp\n"
    "  tls_certificate_files tls/cert.pem, tls/key.pem\n"
    "  smtp_auth optional                   # off | optional | required\n"
    "  relay_from 127.0.0.0/8, [::1]\n"
    "  max_connections 100\n"
    "  max_message_size 50MiB\n"
    "  max_recipients 1000\n"
    "}\n"
    "throttle_program gentle {\n"
    "  deferral_rate 30%\n"
    "  failure_rate 10%\n"
    "  backoff_max_concurrent_connections 25%\n"
    "  backoff_max_delivery_rate 10%\n"
    "  return_after 30m\n"
    "}\n"
    "throttle_template big {\n"
    "  default_max_concurrent_connections 100\n"
    "  rule google {\n"
    "    domains gmail.com, mx:*.google.com\n"
    "    max_concurrent_connections 20\n"
    "    max_delivery_rate 7200/hr\n"
    "    throttle_program gentle\n"
    "  }\n"
    "}\n"
    "ip_address ip-1 {\n"
    "  mta_id 2\n"
    "  smtp_source 127.0.0.2 mail1.example.com\n"
    "  throttle_template big\n"
    "  domain example.com {\n"
    "    max_concurrent_connections 1\n"
    "  }\n"
    "}\n"
    "relay_server upstream {\n"
    "  mta_id 5\n"
    "  destination 127.0.0.1:2525\n"
    "  max_concurrent_connections 50\n"
    "}\n"
    "routing_rule pool {\n"
    "  mta_id 6\n"
    "  deliver_through ip-1 70, upstream 30\n"
    "  randomization message\n"
    "}\n"
    "ip_address * {\n"
    "  starttls_use yes\n"
    "  reuse_connections yes\n"
    "  reuse_connections_max_messages 5\n"
    "  reuse_connections_timeout 30s\n"
    "  domain test.example {\n"
    "    smtp_route 127.0.0.1:2526     # static next hop instead of MX\n"
    "  }\n"
    "  domain example.com {\n"
    "    log_smtp_commands yes\n"
    "  }\n"
    "}\n";

static void test_the_reference_file_is_silent(void **state)
{
	(void)state;
	expect_lines(reference, "");
}

static void test_an_empty_file_is_silent(void **state)
{
	(void)state;
	expect_lines("", "");
	expect_lines("\xef\xbb\xbf# only a comment", "");
}

static void test_block_of_the_seed_pasted_at_the_end(void **state)
{
	(void)state;
	expect("ip_address * {\ndomain example.com {\nlog_smtp_commands yes\n}\n}\n", "");
}

static void test_typo_names_the_nearest(void **state)
{
	(void)state;
	expect("general {\n  queue_lifetme 2d\n}\n",
	    "4:3: unknown directive `queue_lifetme`; did you mean `queue_lifetime`?\n");
	expect("generl {\n}\n", "3:1: unknown block `generl`; did you mean `general`?\n");
	expect("general {\n  zzzzzz 2d\n}\n", "4:3: unknown directive `zzzzzz`\n");
}

static void test_directive_of_a_module_not_loaded(void **state)
{
	(void)state;
	expect_lines("load_module queue\nip_address * {\n  domain example.com {\n    log_smtp_commands yes\n  }\n}\n",
	    "4:5: log_smtp_commands is a directive of module smtp_log, which is not loaded: "
	    "`load_module smtp_log` is missing\n");
	expect_lines("ip_address x {\n\tmax_delivery_rate 1/s\n}\n",
	    "2:2: max_delivery_rate is a directive of module throttle, which is not loaded: "
	    "`load_module throttle` is missing\n");
	expect_lines("throttle_template t {\n\tdefault_max_delivery_rate 1/s\n}\n",
	    "2:2: default_max_delivery_rate is a directive of module throttle, which is not loaded: "
	    "`load_module throttle` is missing\n");
}

static void test_wrong_context_says_where(void **state)
{
	(void)state;
	expect("hostname x.example\n", "3:1: hostname stands in general, not in the top level\n");
	expect("general {\n  listen 127.0.0.1:25\n}\n", "4:3: listen stands in smtp_service, not in general\n");
	expect("general {\n rule x {\n }\n}\n", "4:2: a rule block stands in throttle_template, not in general\n");
	expect("ip_address i {\n  smtp_source 127.0.0.1 a.example\n  domain x.example {\n    mta_id 1\n  }\n}\n",
	    "6:5: mta_id stands in ip_address, relay_server or routing_rule, not in domain x.example of ip_address i\n");
}

static void test_values_name_type_and_bounds(void **state)
{
	(void)state;
	expect("general {\n  queue_lifetime 2\n  queue_memory 5 GB\n  system_max_smtp_connections 0\n}\n",
	    "4:18: queue_lifetime: `2` lacks a unit: write it as a duration such as 500ms, 30s, 4h15m or 2d\n"
	    "5:18: queue_memory takes one value\n"
	    "6:31: system_max_smtp_connections: `0` is less than 1\n");
	expect("ip_address * {\n  starttls_use maybe\n  max_delivery_rate 7200\n  reuse_connections_timeout 2h\n}\n",
	    "4:16: starttls_use: `maybe` is neither `yes` nor `no`\n"
	    "5:21: max_delivery_rate: `7200` lacks a unit: write it as a rate such as 2/s, 120/min or 7200/hr\n"
	    "6:29: reuse_connections_timeout: `2h` is more than 1h\n");
	expect("general {\n  workers many\n  log_level loud\n  dns_server localhost\n  hostname\n}\n",
	    "4:11: workers: `many` is neither `auto` nor a whole number from 1\n"
	    "5:13: log_level: `loud` is not one of debug, info, notice, warn or error\n"
	    "6:14: dns_server: `localhost` is not an IP address or IP:PORT\n"
	    "7:3: hostname needs a value\n");
}

static void test_addresses_are_checked(void **state)
{
	(void)state;
	expect("smtp_service s {\n  listen 127.0.0.1\n  listen 127.0.0.1:70000\n  relay_from 10.0.0.0/33, fe80::/10, x\n}\n",
	    "4:10: listen: `127.0.0.1` is not IP:PORT\n"
	    "5:10: listen: `127.0.0.1:70000` has a port that is not a number from 1 to 65535\n"
	    "6:14: relay_from: `10.0.0.0/33` has a prefix length out of range\n"
	    "6:38: relay_from: `x` is not an IP address or network such as 192.0.2.0/24\n");
	expect("ip_address a {\n  smtp_source 1.2.3 a.example\n}\nip_address b {\n  smtp_source 127.0.0.1\n}\n",
	    "4:15: smtp_source: `1.2.3` is not an IP address\n"
	    "7:15: smtp_source takes 2 values, here are 1\n");
}

static void test_regular_expressions_compile(void **state)
{
	(void)state;
	expect("general {\n  log_only \"^(a|b\"\n}\n",
	    "4:12: log_only: `^(a|b` is not a regular expression: Unmatched ( or \\(\n");
	expect("general {\n  log_only `^(a|b\\.c)$`\n}\n", "");
}

static void test_names_resolve_to_definitions(void **state)
{
	(void)state;
	expect("general {\n  default_virtual_mta ip-2\n}\nip_address ip-1 {\n  smtp_source 127.0.0.1 a.example\n}\n",
	    "4:23: default_virtual_mta: `ip-2` is not defined: there is no "
	    "ip_address, relay_server or routing_rule of that name; did you mean `ip-1`?\n");
	expect("routing_rule r {\n  deliver_through nowhere 1, R 2\n}\n",
	    "4:19: deliver_through: `nowhere` is not defined: there is no "
	    "ip_address, relay_server or routing_rule of that name\n");
	expect("throttle_template t {\n  rule a {\n    domains x.example\n    throttle_program gentle\n  }\n}\n",
	    "6:22: throttle_program: `gentle` is not defined: there is no throttle_program of that name\n");
}

static void test_names_that_only_one_may_have(void **state)
{
	(void)state;
	expect("ip_address a {\n  mta_id 2\n  smtp_source 127.0.0.1 a.example\n}\n"
	    "relay_server b {\n  mta_id 2\n  destination 127.0.0.1:25\n}\n",
	    "8:10: mta_id: `2` is taken by ip_address a (t.conf:4)\n");
	expect("ip_address a {\n  smtp_source 127.0.0.1 a.example\n}\nip_address A {\n  smtp_source 127.0.0.2 a.example\n}\n",
	    "7:3: smtp_source: ip_address a has `127.0.0.1 a.example` already (t.conf:4); it can have one only\n");
	expect("ip_address a {\n  smtp_source 127.0.0.1 a.example\n}\nrelay_server A {\n  destination 127.0.0.1:25\n}\n",
	    "6:14: relay_server: `A` is already the name of an ip_address (t.conf:3)\n");
	expect("ip_address * {\n  mta_id 3\n}\n", "4:3: mta_id is of one object alone: it cannot stand in ip_address *\n");
	expect("ip_address a {\n  smtp_source 127.0.0.1 a.example\n}\nip_address a {\n  smtp_source 127.0.0.1 a.example\n}\n", "");
}

static char *address_named(const char *name)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	fprintf(f, "ip_address %s {\n  smtp_source 127.0.0.1 a.example\n}\n", name);
	fclose(f);
	return text;
}

static void expect_name(const char *quoted, const char *expected)
{
	char *text = address_named(quoted);

	expect(text, expected);
	free(text);
}

static void test_names_of_virtual_mtas(void **state)
{
	char longest[210] = "\"", long_error[400];

	(void)state;
	expect_name("\"a b !~[x]\"", "");
	expect_name("12a", "");
	expect_name("12", "3:12: ip_address: `12` is not a name: a number alone is an id\n");
	expect_name("-12", "3:12: ip_address: `-12` is not a name: a number alone is an id\n");
	expect_name("99999999999999999999999",
	    "3:12: ip_address: `99999999999999999999999` is not a name: a number alone is an id\n");
	expect_name("\"\"", "3:12: ip_address: `` is not a name: 1 to 200 characters are allowed\n");
	expect_name("\" a\"", "3:12: ip_address: ` a` is not a name: it begins or ends with a blank\n");
	expect_name("\"a \"", "3:12: ip_address: `a ` is not a name: it begins or ends with a blank\n");
#define ASCII " is not a name: printable ASCII without `,`, `#` and `@` is allowed\n"
	expect_name("a@b", "3:12: ip_address: `a@b`" ASCII);
	expect_name("\"a,b\"", "3:12: ip_address: `a,b`" ASCII);
	expect_name("\"a#b\"", "3:12: ip_address: `a#b`" ASCII);
	expect_name("\"a\\tb\"", "3:12: ip_address: `a\tb`" ASCII);
	expect_name("\"\xc3\xa4\"", "3:12: ip_address: `\xc3\xa4`" ASCII);
	memset(longest + 1, 'n', 200);
	strcpy(longest + 201, "\"");
	expect_name(longest, "");
	strcpy(longest + 201, "n\"");
	snprintf(long_error, sizeof long_error, "3:12: ip_address: `%.201s` is not a name: "
	    "1 to 200 characters are allowed\n", longest + 1);
	expect_name(longest, long_error);
}

static void test_kinds_of_virtual_mtas_share_their_names(void **state)
{
	(void)state;
	expect("relay_server One {\n  destination 127.0.0.1:25\n}\nrouting_rule one {\n  deliver_through two 1\n}\n"
	    "ip_address two {\n  smtp_source 127.0.0.1 a.example\n}\nrouting_rule TWO {\n  deliver_through two 1\n}\n",
	    "6:14: routing_rule: `one` is already the name of a relay_server (t.conf:3)\n"
	    "12:14: routing_rule: `TWO` is already the name of an ip_address (t.conf:9)\n");
}

#define IP_A "ip_address a {\n  smtp_source 127.0.0.1 a.example\n}\n"

static void test_domain_blocks_of_a_routing_rule(void **state)
{
	(void)state;
	expect(IP_A "routing_rule r {\n  deliver_through a 1\n  domain x.example, *.x.example {\n"
	    "    deliver_through a 2\n    randomization message\n  }\n}\n", "");
	expect(IP_A "routing_rule r {\n  deliver_through a 1\n  domain mx:*.x.example {\n"
	    "    deliver_through a 2\n  }\n}\n",
	    "9:5: deliver_through decides the route, which is known only before the MX hosts are: "
	    "it cannot stand below an mx: pattern\n");
	expect(IP_A "routing_rule r {\n  deliver_through a 1\n  domain x.example {\n"
	    "    max_concurrent_connections 2\n    use_module smtp_log no\n  }\n}\n",
	    "9:5: max_concurrent_connections is for the VirtualMTAs that a routing_rule chooses: "
	    "it cannot stand in domain x.example of routing_rule r\n"
	    "10:5: use_module is for the VirtualMTAs that a routing_rule chooses: "
	    "it cannot stand in domain x.example of routing_rule r\n");
	expect("ip_address a {\n  smtp_source 127.0.0.1 a.example\n  domain x.example {\n    deliver_through a 2\n  }\n}\n"
	    "domain y.example {\n  randomization message\n}\n",
	    "6:5: deliver_through stands in routing_rule and its domain blocks, not in domain x.example of ip_address a\n"
	    "10:3: randomization stands in routing_rule and its domain blocks, not in domain y.example\n");
}

static void test_defaults_of_a_template(void **state)
{
	(void)state;
	expect("throttle_template t {\n  default_max_concurrent_connections 5\n  default_max_delivery_rate 1/s\n}\n", "");
	expect("throttle_template t {\n  max_concurrent_connections 5\n}\n",
	    "4:3: max_concurrent_connections is default_max_concurrent_connections in a throttle_template: "
	    "it is for the domains that no rule names\n");
	expect("throttle_template t {\n  default_max_concurrent_connections -1\n  default_max_delivery_rate\n"
	    "  default_max_concurrent_connections 1 2\n}\n",
	    "4:38: default_max_concurrent_connections: `-1` is less than 0\n"
	    "5:3: default_max_delivery_rate needs a value\n"
	    "6:40: default_max_concurrent_connections takes one value\n");
	expect("throttle_template t {\n  default_starttls_use no\n  default_max_concurent_connections 1\n"
	    "  rule r {\n    domains x.example\n    default_max_delivery_rate 1/s\n  }\n}\n",
	    "4:3: starttls_use stands in general, ip_address, relay_server or domain, not in throttle_template t\n"
	    "5:3: unknown directive `default_max_concurent_connections`; "
	    "did you mean `default_max_concurrent_connections`?\n"
	    "8:5: default_max_delivery_rate stands in throttle_template, not in rule r of throttle_template t\n");
}

static void test_domains_of_a_rule(void **state)
{
	(void)state;
	expect("throttle_template t {\n  rule a {\n    max_concurrent_connections 1\n  }\n  rule b {\n"
	    "    domains x..example, *.x.example, mx:*.*\n  }\n}\n",
	    "4:3: rule a of throttle_template t lacks domains\n"
	    "8:13: domains: `x..example` is not the name of a domain: there is nothing between two dots\n"
	    "8:38: domains: `mx:*.*` is not the name of a domain\n");
	expect("throttle_template t {\n  rule a {\n    domains X.example, *.x.example, x.example\n  }\n  rule b {\n"
	    "    domains mx:x.example\n    domains [*.]x.example, x.EXAMPLE\n  }\n}\n"
	    "throttle_template u {\n  rule a {\n    domains x.example\n  }\n}\n",
	    "9:28: domains: `x.example` is a domain of rule a of throttle_template t already (t.conf:5)\n");
	expect("ip_address a {\n  smtp_source 127.0.0.1 a.example\n  throttle_template u\n}\nthrottle_template t {\n}\n"
	    "relay_server r {\n  destination 127.0.0.1:25\n  throttle_template t\n}\n",
	    "5:21: throttle_template: `u` is not defined: there is no throttle_template of that name; did you mean `t`?\n"
	    "11:3: throttle_template stands in ip_address, not in relay_server r\n");
}

static void test_numbers_of_rules_in_one_block(void **state)
{
	(void)state;
	expect("throttle_template t {\n  rule a {\n    domains a.example\n    id 7\n  }\n  rule b {\n"
	    "    domains b.example\n    id 007\n  }\n  domain c.example {\n    id 7\n  }\n}\n",
	    "10:8: id: `007` is taken by rule a of throttle_template t (t.conf:6)\n"
	    "13:8: id: `7` is taken by rule a of throttle_template t (t.conf:6)\n");
	expect(IP_A "ip_address A {\n  domain x.example {\n    id 1\n  }\n  domain y.example {\n    id 2\n  }\n"
	    "  domain z.example {\n    id 1\n  }\n}\n",
	    "14:8: id: `1` is taken by domain x.example of ip_address a (t.conf:8)\n");
	/* One block in two places, and blocks of two VirtualMTAs or templates. */
	expect(IP_A "ip_address a {\n  domain x.example {\n    id 1\n  }\n}\nip_address a, b {\n"
	    "  domain x.example {\n    id 1\n  }\n}\nip_address b {\n  smtp_source 127.0.0.2 b.example\n}\n"
	    "throttle_template t {\n  rule a {\n    domains a.example\n    id 1\n  }\n}\n"
	    "throttle_template u {\n  rule a {\n    domains a.example\n    id 1\n  }\n}\n", "");
	expect("domain x.example {\n  id 3\n}\ndomain y.example {\n  id 3\n}\n",
	    "7:6: id: `3` is taken by domain x.example (t.conf:4)\n");
}

static void test_what_is_required(void **state)
{
	(void)state;
	expect("ip_address a {\n}\nsmtp_service s {\n}\nrelay_server r {\n}\n",
	    "3:1: ip_address a lacks smtp_source\n"
	    "5:1: smtp_service s lacks listen\n"
	    "7:1: relay_server r lacks destination\n");
}

static void test_mx_patterns_cannot_route(void **state)
{
	(void)state;
	expect("ip_address * {\n  domain a.example, mx:*.google.com {\n    max_concurrent_connections 2\n"
	    "    smtp_route 127.0.0.1:25\n  }\n}\n",
	    "6:5: smtp_route decides the route, which is known only before the MX hosts are: "
	    "it cannot stand below an mx: pattern\n");
}

static void test_patterns_are_checked(void **state)
{
	(void)state;
	expect("domain ex..com, *.*, -a.example, \"b\xc3\xbc" "cher.example\", [*.]x.example {\n}\n",
	    "3:8: domain: `ex..com` is not the name of a domain: there is nothing between two dots\n"
	    "3:17: domain: `*.*` is not the name of a domain\n"
	    "3:22: domain: `-a.example` is not the name of a domain: a part begins or ends with `-`\n");
}

static void test_braces(void **state)
{
	(void)state;
	expect("general\n{\n  workers 2\n}\n", "4:1: `{` stands on the line of its block: put it at the end of line 3\n");
	expect("ip_address * { starttls_use yes }\n",
	    "3:16: the first statement of a block stands on the line after `{`\n");
	expect("general {\n  workers 2 }\nip_address * {\n}\n",
	    "4:13: `}` stands on a line of its own\n");
	expect("general {\n  workers 2\n", "5:1: the block `general` of line 3 is not closed: `}` is missing\n");
	expect("}\n", "3:1: `}` without a block to close\n");
	expect("general {\n} workers 2\n", "4:3: `}` stands on a line of its own\n");
	expect("workers 2 {\n}\n", "3:1: workers is a directive, not a block: no `{` here\n");
	expect("general\n", "3:1: general is a block: its line ends in `{`\n");
}

static void test_words(void **state)
{
	(void)state;
	expect("general {\n  hostname a&b\n  server_id \"x\n  workers 2#two\n}\n",
	    "4:13: `&` may stand only inside quotes: write the value as \"...\"\n"
	    "5:13: the string is not closed on its line\n"
	    "6:12: `#` inside a word: put a blank before a comment, or quote the value\n");
	expect("general {\n  server_id \"\\q\"\n  dns_server 127.0.0.1,,127.0.0.2,\n}\n",
	    "4:14: unknown escape: only \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uNNNN, or use `raw` quotes\n"
	    "5:24: a value is missing before the comma\n"
	    "5:34: a value must follow the comma on the same line\n");
	expect("general {\n  server_id \"\\ud83d\\ude00\"\n}\n", "");
	expect("general {\n  server_id \"a\\ud83d\"\n}\n", "4:15: \\ud83d is half of a surrogate pair\n");
}

static void test_all_errors_in_one_run(void **state)
{
	(void)state;
	expect("general {\n  queue_lifetime soon\n}\nip_address * {\n  starttls_use 1\n  nonsense_word 2\n}\nrelay_server u {\n}\n",
	    "4:18: queue_lifetime: `soon` is not a duration such as 500ms, 30s, 4h15m or 2d\n"
	    "7:16: starttls_use: `1` is neither `yes` nor `no`\n"
	    "8:3: unknown directive `nonsense_word`\n"
	    "10:1: relay_server u lacks destination\n");
}

static void test_secrets_are_not_told(void **state)
{
	(void)state;
	expect("greenarrow_proxy p {\n  greenarrow_proxy_server ga1.example.com:807\n"
	    "  greenarrow_proxy_shared_secret \"hunter2\"\n}\n",
	    "5:34: greenarrow_proxy_shared_secret: the value is shorter than 32 characters\n");
}

static void test_use_module(void **state)
{
	(void)state;
	expect("ip_address * {\n  use_module smtp_log no\n  use_module smtp_lg yes\n  use_module smtp_server no\n"
	    "  use_module queue maybe\n}\n",
	    "5:14: use_module: `smtp_lg` is not loaded: `load_module smtp_lg` is missing; did you mean `smtp_log`?\n"
	    "6:14: use_module: `smtp_server` has no hooks to switch in ip_address * (its scopes: smtp_service)\n"
	    "7:14: use_module: `queue` has no hooks to switch in ip_address * (its scopes: )\n"
	    "7:20: use_module: `maybe` is neither `yes` nor `no`\n");
}

static void test_load_module(void **state)
{
	(void)state;
	expect_lines("load_module sp0ol\nload_module Spool\nload_module spool\nload_module spool\n",
	    "1:13: load_module: `sp0ol` is not linked into this program; did you mean `spool`?\n"
	    "2:13: load_module: `Spool` is neither a name (a-z, 0-9, _) nor an absolute path; did you mean `spool`?\n"
	    "4:13: warning: load_module: `spool` is loaded already (line 3)\n");
}

static void test_module_block(void **state)
{
	(void)state;
	expect("module spool {\n  segments_ready 99\n}\nmodule spol {\n}\n",
	    "4:18: segments_ready: `99` is more than 16\n"
	    "6:8: module: `spol` is not loaded: `load_module spol` is missing; did you mean `spool`?\n");
}

/* ---- includes */

static void put(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static char *said_of_file(const char *dir, const char *name)
{
	struct ga_diag *diag = gac_diag_new();
	struct gac_conf_options o = fx_options("", "");
	char path[256], *out = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&out, &size);

	snprintf(path, sizeof path, "%s/%s", dir, name);
	o.file = path;
	o.text = NULL;
	o.no_files = false;
	gac_conf_free(gac_conf_load(&o, diag));
	gac_diag_print(diag, f);
	fclose(f);
	gac_diag_free(diag);
	return out;
}

static void test_includes(void **state)
{
	char dir[] = "/tmp/ga-conf-XXXXXX", cmd[64], want[1200];
	char *got;

	(void)state;
	assert_non_null(mkdtemp(dir));
	put(dir, "main.conf", "include b.conf\ninclude *.inc   # sorted\ninclude none-*.conf\ninclude gone.conf\nbad_word 1\n");
	put(dir, "b.conf", "general {\n  wrkers 1\n}\ninclude main.conf\n");
	put(dir, "2.inc", "general {\n  workers b\n}\n");
	put(dir, "10.inc", "general {\n  workers a\n}\n");
	got = said_of_file(dir, "main.conf");
	snprintf(want, sizeof want,
	    "%s/main.conf:4:9: include: `%s/gone.conf` cannot be read: No such file or directory\n"
	    "%s/main.conf:5:1: unknown directive `bad_word`\n"
	    "%s/b.conf:2:3: unknown directive `wrkers`; did you mean `workers`?\n"
	    "%s/b.conf:4:9: include: `%s/main.conf` cannot be read: it includes itself\n"
	    "%s/10.inc:2:11: workers: `a` is neither `auto` nor a whole number from 1\n"
	    "%s/2.inc:2:11: workers: `b` is neither `auto` nor a whole number from 1\n",
	    dir, dir, dir, dir, dir, dir, dir, dir);
	assert_string_equal(got, want);
	free(got);
	got = said_of_file(dir, "absent.conf");
	snprintf(want, sizeof want, "%s/absent.conf: cannot be read: No such file or directory\n", dir);
	assert_string_equal(got, want);
	free(got);
	snprintf(cmd, sizeof cmd, "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

static void test_files_must_be_readable(void **state)
{
	char dir[] = "/tmp/ga-conf-XXXXXX", text[512], want[512], cmd[64];
	struct gac_conf_options o;
	struct ga_diag *diag = gac_diag_new();
	const struct gac_report *r;

	(void)state;
	assert_non_null(mkdtemp(dir));
	put(dir, "cert.pem", "x");
	snprintf(text, sizeof text, "load_module smtp_server\ngeneral {\n  control_directory %s\n}\n"
	    "smtp_service s {\n  listen 127.0.0.1:0\n  tls_certificate_files cert.pem, key.pem\n}\n", dir);
	o = fx_options("t.conf", text);
	o.no_files = false;
	assert_null(gac_conf_load(&o, diag));
	assert_int_equal(gac_diag_reports(diag, &r), 1);
	snprintf(want, sizeof want, "tls_certificate_files: `key.pem` cannot be read: No such file or directory");
	assert_string_equal(r[0].message, want);
	assert_int_equal(r[0].pos.line, 7);
	assert_int_equal(r[0].pos.column, 35);
	gac_diag_free(diag);
	snprintf(cmd, sizeof cmd, "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

static void test_a_module_names_places_in_its_own_files(void **state)
{
	struct ga_diag *diag = gac_diag_new();
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	assert_non_null(f);
	ga_diag_error_at(diag, "/x/users", 3, 7, "bad %s", "hash");
	ga_diag_warn_at(diag, "/x/users", 1, 1, "old hash");
	ga_diag_error_at(diag, "/x/users", 3, 7, "bad %s", "hash");
	ga_diag_error_at(diag, "/x/others", 3, 7, "bad %s", "hash");
	ga_diag_warn_at(diag, "/x/none", 0, 0, "not there");
	assert_int_equal(gac_diag_errors(diag), 3);
	gac_diag_print(diag, f);
	fclose(f);
	assert_non_null(strstr(text, "/x/users:1:1: warning: old hash\n/x/users:3:7: bad hash\n"));
	assert_null(strstr(strstr(text, "users:3:7") + 1, "users:3:7"));
	assert_non_null(strstr(text, "/x/others:3:7: bad hash\n"));
	assert_non_null(strstr(text, "/x/none: warning: not there\n"));
	free(text);
	gac_diag_free(diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_reference_file_is_silent),
		cmocka_unit_test(test_an_empty_file_is_silent),
		cmocka_unit_test(test_block_of_the_seed_pasted_at_the_end),
		cmocka_unit_test(test_typo_names_the_nearest),
		cmocka_unit_test(test_directive_of_a_module_not_loaded),
		cmocka_unit_test(test_wrong_context_says_where),
		cmocka_unit_test(test_values_name_type_and_bounds),
		cmocka_unit_test(test_addresses_are_checked),
		cmocka_unit_test(test_regular_expressions_compile),
		cmocka_unit_test(test_names_resolve_to_definitions),
		cmocka_unit_test(test_names_that_only_one_may_have),
		cmocka_unit_test(test_names_of_virtual_mtas),
		cmocka_unit_test(test_kinds_of_virtual_mtas_share_their_names),
		cmocka_unit_test(test_domain_blocks_of_a_routing_rule),
		cmocka_unit_test(test_defaults_of_a_template),
		cmocka_unit_test(test_domains_of_a_rule),
		cmocka_unit_test(test_numbers_of_rules_in_one_block),
		cmocka_unit_test(test_what_is_required),
		cmocka_unit_test(test_mx_patterns_cannot_route),
		cmocka_unit_test(test_patterns_are_checked),
		cmocka_unit_test(test_braces),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_all_errors_in_one_run),
		cmocka_unit_test(test_secrets_are_not_told),
		cmocka_unit_test(test_use_module),
		cmocka_unit_test(test_load_module),
		cmocka_unit_test(test_module_block),
		cmocka_unit_test(test_includes),
		cmocka_unit_test(test_files_must_be_readable),
		cmocka_unit_test(test_a_module_names_places_in_its_own_files),
	};

	return cmocka_run_group_tests_name("conf_load", tests, NULL, NULL);
}
