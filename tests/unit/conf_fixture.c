/*
 * conf_fixture.c - modules for tests of the configuration: manifests in memory
 *
 * Linked into every test_conf_* program and the fuzz target.  The manifests are
 * what GA_MODULE writes into section .greenarrow.
 */
#include <string.h>

#include "conf_fixture.h"

#define MANIFEST(name, scopes, LIST)							\
	{ #name, { "GreenArrowModule\002name\t" #name "\nversion\t1.0.0\n"		\
	    "abi\t1.0\tGA_ABI_STRICT\t" FX_BUILD_ID "\nscopes\t" scopes "\n"		\
	    "hook\trcpt\ndirectives\n" LIST(GA_CF_TEXT_) "\003",			\
	    sizeof("GreenArrowModule\002name\t" #name "\nversion\t1.0.0\n"		\
	    "abi\t1.0\tGA_ABI_STRICT\t" FX_BUILD_ID "\nscopes\t" scopes "\n"		\
	    "hook\trcpt\ndirectives\n" LIST(GA_CF_TEXT_) "\003") - 1 } }
#define NONE(X)

const struct gac_manifest_text fx_manifests[] = {
	MANIFEST(spool, "", FX_SPOOL),
	MANIFEST(queue, "", FX_QUEUE),
	MANIFEST(route, "ip_address domain", FX_ROUTE),
	MANIFEST(throttle, "ip_address domain", FX_THROTTLE),
	MANIFEST(smtp_server, "smtp_service", FX_SMTP_SERVER),
	MANIFEST(smtp_client, "ip_address domain", FX_SMTP_CLIENT),
	MANIFEST(transport_direct, "domain", NONE),
	MANIFEST(transport_proxy, "domain", FX_TRANSPORT_PROXY),
	MANIFEST(tcp_rules, "smtp_service", FX_TCP_RULES),
	MANIFEST(service_log, "", NONE),
	MANIFEST(smtp_log, "smtp_service domain", FX_SMTP_LOG),
	MANIFEST(delivery_log, "domain", NONE),
	MANIFEST(bounce, "", NONE),
	MANIFEST(queue_control, "", NONE),
};
const size_t fx_nmanifests = sizeof fx_manifests / sizeof fx_manifests[0];

const char fx_load_all[] =
    "load_module spool, queue, route, throttle, smtp_server, smtp_client, transport_direct\n"
    "load_module transport_proxy, tcp_rules, service_log, smtp_log, delivery_log, bounce, queue_control\n";

#define GA_CF_SELF_ struct fx_queue
GA_CONF_SCHEMA(fx_queue, FX_QUEUE);
#undef GA_CF_SELF_
#define GA_CF_SELF_ struct fx_route
GA_CONF_SCHEMA(fx_route, FX_ROUTE);
#undef GA_CF_SELF_
#define GA_CF_SELF_ struct fx_throttle
GA_CONF_SCHEMA(fx_throttle, FX_THROTTLE);
#undef GA_CF_SELF_
#define GA_CF_SELF_ struct fx_spool
GA_CONF_SCHEMA(fx_spool, FX_SPOOL);
#undef GA_CF_SELF_
#define GA_CF_SELF_ struct fx_smtp_client
GA_CONF_SCHEMA(fx_smtp_client, FX_SMTP_CLIENT);
#undef GA_CF_SELF_
#define GA_CF_SELF_ struct fx_smtp_log
GA_CONF_SCHEMA(fx_smtp_log, FX_SMTP_LOG);

const struct gac_snapshot_module fx_modules[] = {
	{ "queue", &fx_queue_schema }, { "route", &fx_route_schema },
	{ "throttle", &fx_throttle_schema }, { "spool", &fx_spool_schema },
	{ "smtp_client", &fx_smtp_client_schema }, { "smtp_log", &fx_smtp_log_schema },
};
const size_t fx_nmodules = sizeof fx_modules / sizeof fx_modules[0];

struct gac_conf_options fx_options(const char *name, const char *text)
{
	return (struct gac_conf_options){
		.file = name, .text = text, .text_size = strlen(text), .build_id = FX_BUILD_ID,
		.builtin = fx_manifests, .nbuiltin = fx_nmanifests, .no_files = true,
	};
}

struct ga_snapshot *fx_snapshot(const char *text)
{
	struct gac_conf_options o = fx_options("test.conf", text);
	struct gac_snapshot_options so = { .modules = fx_modules, .nmodules = fx_nmodules };
	struct ga_diag *diag = gac_diag_new();
	struct gac_conf *conf = gac_conf_load(&o, diag);

	gac_diag_print(diag, stderr);
	gac_diag_free(diag);
	return conf == NULL ? NULL : gac_snapshot_new(conf, &so);
}
