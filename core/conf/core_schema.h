/*
 * core_schema.h - the directives that belong to the core itself
 *
 * Declared like a module's (module name "core").  Directories, hostname and
 * server_id have defaults that are known only at run time: conf.c fills them in.
 */
#ifndef GAC_CONF_CORE_SCHEMA_H
#define GAC_CONF_CORE_SCHEMA_H

#include <greenarrow/ga_conf.h>

#define GAC_CORE_MODULE "core"

#define GAC_CORE_DIRECTIVES(X)									\
	X(list, load_module, "", "repeat", "top",					\
	    "A module to load: a name in module_directory, or an absolute path; the order is the order of hooks") \
	X(list, include, "", "repeat", "top",							\
	    "Files to read in this place, relative to this file; with * ? [ sorted by name")	\
	X(string, hostname, "", "is=host", "general",						\
	    "Name of this machine in greetings and trace fields; default: the system's")	\
	X(string, server_id, "", "min=1 max=200", "general",					\
	    "Name of this instance at a proxy and in events; default: hostname")		\
	X(string, default_virtual_mta, "", "is=virtual_mta", "general",				\
	    "VirtualMTA of a message that names none or one that does not exist")		\
	X(flag, process_x_virtual_mta_header, "no", "", "general,smtp_service",			\
	    "The header field x-virtual-mta names the VirtualMTA, as for PowerMTA, and is taken out")	\
	X(string, workers, "auto", "is=auto_or_int restart", "general,top",			\
	    "How many loops (threads) work; auto: one a core")					\
	X(string, run_as_user, "", "is=user restart", "general,top",				\
	    "User to become after start as root; unset or root: stay what we are")		\
	X(path, control_directory, "", "restart", "general",					\
	    "Where relative paths start")							\
	X(path, queue_directory, "", "restart", "general",					\
	    "Where the queue is kept")								\
	X(path, log_directory, "", "restart", "general",					\
	    "Where log directories are made")							\
	X(path, run_directory, "", "restart", "general",					\
	    "Where the sockets and the process id are")						\
	X(path, module_directory, "", "restart", "general",					\
	    "Where load_module finds names")							\
	X(path, service_directory, "", "restart", "general",					\
	    "Where svc and svstat find the services, a directory each")				\
	X(list, dns_server, "", "is=ipport repeat", "general,top",				\
	    "DNS servers to ask; default: the system's")					\
	X(path, tls_trust_file, "", "is=file restart", "general",				\
	    "Certificates (PEM) that are trusted besides the system's, where they are verified")	\
	X(duration, stop_timeout, "20s", "min=1s max=1h", "general,top",			\
	    "How long work in progress may take when the daemon is stopped")			\
	X(int, max_waits, "10000", "min=1", "general,top",					\
	    "Hooks of one module that may wait at once; beyond it the module's on_failure is the answer") \
	X(choice, log_level, "info", "oneof=debug|info|notice|warn|error", "general,top",	\
	    "Least level of the messages in the log")						\
	X(string, throttle_template, "", "is=throttle_template", "ip_address",			\
	    "Throttling template: rules for domains for which neither this VirtualMTA nor ip_address * has a domain block") \
	X(list, domains, "", "is=mx_or_domain required", "rule",				\
	    "Domains of this rule, as patterns like those of a domain block")			\
	X(table, use_module, "", "words=2 is=name,flag repeat",					\
	    "smtp_service,ip_address,relay_server,domain",					\
	    "Switches the hooks of a module on or off here: NAME yes|no")

GA_CONF_STRUCT(gac_core_conf, GAC_CORE_DIRECTIVES);

extern const struct ga_conf_schema gac_core_schema;

/* The number that `workers` means on this machine. */
unsigned gac_core_workers(const struct gac_core_conf *);

#endif
