/*
 * fuzz_conf.c - any octets as greenarrow.conf.
 *
 * What must hold: a configuration comes back exactly when no error was told;
 * every report stands in the text; reports are in the order of the text; what
 * was accepted can be resolved, and the same question has the same answer.
 */
#include "conf_fixture.h"
#include "fuzz.h"

static const char *const preload[] = {
	"spool", "queue", "route", "throttle", "smtp_server", "smtp_client", "transport_proxy", "smtp_log", NULL
};

static void check_reports(struct ga_diag *diag, const uint8_t *data, size_t n)
{
	const struct gac_report *r;
	size_t count = gac_diag_reports(diag, &r), lines = 1;

	for (size_t i = 0; i < n; i++)
		lines += data[i] == '\n';
	for (size_t i = 0; i < count; i++) {
		FUZZ_CHECK(r[i].message[0] != '\0');
		FUZZ_CHECK(r[i].pos.line <= lines);
		FUZZ_CHECK(r[i].pos.column <= n + 1);
		FUZZ_CHECK(i == 0 || r[i - 1].pos.line <= r[i].pos.line);
	}
}

static void check_resolved(struct gac_conf *conf)
{
	static const struct ga_str mx[] = { { "mx.google.com", 13 } };
	struct gac_snapshot_options o = { .modules = fx_modules, .nmodules = fx_nmodules };
	struct ga_snapshot *snap = gac_snapshot_new(conf, &o);
	const struct ga_settings *s = ga_snapshot_resolve(snap, GA_STR("ip-1"), GA_STR("a.example.com"), mx, 1);

	FUZZ_CHECK(s == ga_snapshot_resolve(snap, GA_STR("IP-1"), GA_STR("a.example.com"), mx, 1));
	for (size_t i = 0; i < fx_nmodules; i++)
		FUZZ_CHECK(ga_settings_conf(s, fx_modules[i].name) != NULL);
	ga_snapshot_unref(snap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct gac_conf_options o = fx_options("fuzz.conf", "");
	struct ga_diag *diag = gac_diag_new();
	struct gac_conf *conf;

	o.text = (const char *)data;
	o.text_size = n;
	o.preload = preload;
	conf = gac_conf_load(&o, diag);
	FUZZ_CHECK((conf == NULL) == (gac_diag_errors(diag) > 0));
	check_reports(diag, data, n);
	if (conf != NULL)
		check_resolved(conf);
	gac_diag_free(diag);
	return 0;
}

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT("general {\n  hostname m.example # x\n  workers auto\n  dns_server 127.0.0.1:5300, [::1]\n}\n"
	    "ip_address ip-1, b {\n  smtp_source 127.0.0.2 m.example\n  domain *.example.com, mx:[*.]google.com {\n"
	    "    max_delivery_rate 7200/hr\n  }\n}\n"),
	FUZZ_INPUT("routing_rule r {\n deliver_through up 70, ip-1 30.5\n mta_id 6\n}\nrelay_server up {\n"
	    " destination [::1]:25\n mta_id 7\n}\nip_address ip-1 {\n smtp_source ::1 \"a\\u002eexample\"\n}\n"
	    "ip_address * {\n use_module smtp_log no\n}\n"),
	FUZZ_INPUT("throttle_template t {\n rule g {\n  domains `gmail.com`, mx:*\n }\n}\nmodule spool {\n"
	    " segments_ready 3\n}\nload_module tcp_rules, nope\nproxy_server a:1\n}\n{ x\ninclude *\n"),
};
FUZZ_MAIN(inputs);
