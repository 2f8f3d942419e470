/*
 * conf_fixture.h - modules for tests of the configuration: manifests in memory
 *
 * The directives of the reference file of docs/greenarrow.conf, declared the
 * way modules declare theirs, without any code behind them.
 */
#ifndef TESTS_CONF_FIXTURE_H
#define TESTS_CONF_FIXTURE_H

#include <greenarrow/ga_conf.h>

#include "conf/conf.h"
#include "conf/snapshot.h"

#define FX_BUILD_ID "test-build"

#define FX_QUEUE(X)									\
	X(duration, queue_lifetime, "2d", "min=1m", "general,ip_address,domain", "Lifetime")	\
	X(size, queue_memory, "0", "", "general", "Memory")				\
	X(flag, delivery_paused, "no", "", "ip_address,relay_server,domain", "Hold")

#define FX_ROUTE(X)									\
	X(int, mta_id, "", "min=1 unique once", "ip_address,relay_server,routing_rule", "Number")	\
	X(words, smtp_source, "", "words=2 is=ip,host once required", "ip_address", "Source")	\
	X(string, destination, "", "is=host_port required", "relay_server", "Where")	\
	X(table, deliver_through, "", "words=2 is=virtual_mta,real route required",		\
	    "routing_rule,domain", "Shares")						\
	X(choice, randomization, "random", "oneof=random|message|recipient route",	\
	    "routing_rule,domain", "How")						\
	X(int, id, "", "min=1 unique_in_block", "domain,rule", "Number")		\
	X(list, smtp_route, "", "is=hostport route", "ip_address,domain", "Next hops")

#define FX_WHERE "general,ip_address,relay_server,domain"

#define FX_THROTTLE(X)									\
	X(int, system_max_smtp_connections, "10000", "min=1", "general", "In all")	\
	X(int, max_concurrent_connections, "100", "min=0 max=100000", FX_WHERE ",rule,throttle_template", "Limit")	\
	X(rate, max_delivery_rate, "0", "", FX_WHERE ",rule,throttle_template", "Rate")	\
	X(int, id, "", "min=1 unique_in_block", "domain,rule", "Number")		\
	X(string, throttle_program, "", "is=throttle_program", "rule,domain", "Program")	\
	X(percent, deferral_rate, "", "max=100%", "throttle_program", "Trigger")	\
	X(percent, failure_rate, "", "max=100%", "throttle_program", "Trigger")		\
	X(string, backoff_max_concurrent_connections, "", "is=percent_or_int", "throttle_program", "Limit")	\
	X(string, backoff_max_delivery_rate, "", "is=percent_or_rate", "throttle_program", "Rate")	\
	X(duration, return_after, "30m", "min=1s", "throttle_program", "How long")

#define FX_SMTP_SERVER(X)								\
	X(list, listen, "", "is=listen repeat required", "smtp_service", "Addresses")	\
	X(list, tls_certificate_files, "", "is=file", "smtp_service", "Certificate, key")	\
	X(choice, smtp_auth, "off", "oneof=off|optional|required", "smtp_service", "AUTH")	\
	X(list, relay_from, "127.0.0.0/8, [::1]", "is=cidr", "smtp_service", "Who may relay")	\
	X(int, max_connections, "1000", "min=1", "smtp_service", "Limit")		\
	X(size, max_message_size, "50MiB", "min=1KiB max=2047MiB", "smtp_service", "Limit")	\
	X(int, max_recipients, "1000", "min=1", "smtp_service", "Limit")

#define FX_SMTP_CLIENT(X)								\
	X(flag, starttls_use, "yes", "", FX_WHERE, "STARTTLS")				\
	X(flag, reuse_connections, "no", "", FX_WHERE, "Reuse")				\
	X(int, reuse_connections_max_messages, "5", "min=1", FX_WHERE, "Reuse")		\
	X(duration, reuse_connections_timeout, "30s", "min=1s max=1h", FX_WHERE, "Reuse")

#define FX_TRANSPORT_PROXY(X)								\
	X(string, greenarrow_proxy, "", "is=greenarrow_proxy", "ip_address", "Which")	\
	X(list, greenarrow_proxy_server, "", "is=host_port repeat required", "greenarrow_proxy", "Where")	\
	X(secret, greenarrow_proxy_shared_secret, "", "min=32 required", "greenarrow_proxy", "Secret")

#define FX_TCP_RULES(X)									\
	X(path, tcp_rules, "", "", "smtp_service", "Rules")				\
	X(path, environment_file, "", "", "smtp_service", "Environment")

#define FX_SMTP_LOG(X)									\
	X(flag, log_smtp_commands, "no", "", FX_WHERE, "Log")				\
	X(string, log_only, "", "is=regex", "general", "Which sessions")

#define FX_SPOOL(X)									\
	X(flag, queue_fsync, "yes", "", "general,module", "Sync")			\
	X(int, segments_ready, "2", "min=1 max=16", "module", "Ready segments")

GA_CONF_STRUCT(fx_queue, FX_QUEUE);
GA_CONF_STRUCT(fx_route, FX_ROUTE);
GA_CONF_STRUCT(fx_throttle, FX_THROTTLE);
GA_CONF_STRUCT(fx_spool, FX_SPOOL);
GA_CONF_STRUCT(fx_smtp_client, FX_SMTP_CLIENT);
GA_CONF_STRUCT(fx_smtp_log, FX_SMTP_LOG);

extern const struct gac_manifest_text fx_manifests[];
extern const size_t fx_nmanifests;
extern const struct gac_snapshot_module fx_modules[];
extern const size_t fx_nmodules;

/* Options for a text, with the modules above. */
struct gac_conf_options fx_options(const char *name, const char *text);
/* Loads; on errors prints them and returns NULL. */
struct ga_snapshot *fx_snapshot(const char *text);
/* `load_module` lines for all of them. */
extern const char fx_load_all[];

#endif
