/*
 * conf.h - the directives of an smtp_service block, declared once.
 *
 * The list makes the struct, the table that the loader reads and the manual.
 * A session reads its settings from the generation of its service (service.h),
 * so that what it began with holds until it ends.
 */
#ifndef SMTPD_CONF_H
#define SMTPD_CONF_H

#include <greenarrow/ga_conf.h>

enum smtpd_auth_offer { SMTPD_AUTH_OFF, SMTPD_AUTH_OPTIONAL, SMTPD_AUTH_REQUIRED };
enum smtpd_bare_newlines { SMTPD_BARE_REJECT, SMTPD_BARE_NORMALIZE };

#define SMTPD_DIRECTIVES(X)							\
	X(list, listen, "", "is=listen repeat", "smtp_service",			\
	    "addresses to accept SMTP on, each with its port")			\
	X(list, listen_tls, "", "is=listen repeat", "smtp_service",		\
	    "the same, where TLS comes before the first word (RFC 8314: port 465)") \
	X(path, environment_file, "", "", "smtp_service",			\
	    "`export NAME=value` lines, read, never executed: ENABLED PORT IPADDR CONCURRENCY override this block, what is exported is a variable of each session") \
	X(list, tls_certificate_files, "", "is=file", "smtp_service",		\
	    "certificate chain and private key, PEM: with them STARTTLS is offered") \
	X(flag, starttls_offer, "yes", "", "smtp_service",			\
	    "offer STARTTLS when there is a certificate")			\
	X(list, relay_from, "127.0.0.0/8, [::1]", "is=cidr", "smtp_service",	\
	    "clients that may send to any recipient")				\
	X(list, incoming_smtp_accept_proxy_protocol, "", "is=cidr", "general,smtp_service", \
	    "proxies that send a PROXY header (version 1 or 2) before anything else, and must") \
	X(list, xclient_from, "", "is=cidr", "smtp_service",			\
	    "clients that may say by XCLIENT who they speak for")		\
	X(list, relay_domains, "", "", "smtp_service",				\
	    "recipient domains that mail is taken for from anyone: names, *.names, [*.]names") \
	X(string, postmaster_address, "", "", "smtp_service",			\
	    "where mail for <postmaster> goes, which anyone may send; default: postmaster at our hostname") \
	X(flag, add_missing_headers, "no", "", "smtp_service",			\
	    "add Date and Message-ID to messages that have none (submission)")	\
	X(choice, smtp_auth, "off", "oneof=off|optional|required", "smtp_service", \
	    "AUTH: not spoken, offered, or needed before MAIL: 530 5.7.0")	\
	X(flag, require_auth, "no", "", "smtp_service",				\
	    "yes is another way to say smtp_auth required")			\
	X(flag, require_tls, "no", "", "smtp_service",				\
	    "nothing but EHLO and STARTTLS outside TLS: 530 5.7.0")		\
	X(flag, smtp_auth_without_tls, "no", "", "smtp_service",		\
	    "offer PLAIN and LOGIN outside TLS too, where others can read the password") \
	X(path, smtp_users_file, "smtp_users", "", "smtp_service",		\
	    "who may authenticate: name:hash[:mail class], a line each")	\
	X(int, max_auth_failures, "3", "min=1 max=1000", "smtp_service",	\
	    "refused logins of a session; then 421 4.7.0")			\
	X(int, max_auth_failures_per_client, "30", "min=0 max=1000000", "smtp_service", \
	    "refused logins of one address (IPv6: /64) within ten minutes; then 454 4.7.0; 0 = no limit") \
	X(duration, smtpd_auth_delay, "1s", "min=0s max=1m", "smtp_service",	\
	    "how long a refused login waits for its answer")			\
	X(int, max_connections, "1000", "min=1 max=1000000", "smtp_service",	\
	    "sessions at a time; one more gets 421 4.3.2")			\
	X(int, max_connections_per_client, "20", "min=0 max=1000000", "smtp_service", \
	    "sessions of one address (IPv6: /64) that may not relay; 0 = no limit") \
	X(size, max_message_size, "50MiB", "min=1KiB max=2047MiB", "smtp_service", \
	    "octets of a message; announced as SIZE")				\
	X(size, max_header_size, "1MiB", "min=1KiB max=64MiB", "smtp_service",	\
	    "octets of a message's header")					\
	X(int, max_recipients, "1000", "min=1 max=1000000", "smtp_service",	\
	    "recipients of a message, announced as LIMITS RCPTMAX; one more gets 452 4.5.3")			\
	X(choice, bare_newlines, "reject", "oneof=reject|normalize", "smtp_service", \
	    "a line end that is not CRLF: refuse the message, or rewrite it to CRLF") \
	X(duration, smtpd_timeout, "5m", "min=1s max=1d", "smtp_service",	\
	    "time for a client to send its next command, whole")		\
	X(duration, smtpd_data_timeout, "5m", "min=1s max=1d", "smtp_service",	\
	    "time without a byte of a message that is being received")		\
	X(size, smtpd_min_data_rate, "500", "min=0 max=1MiB", "smtp_service",	\
	    "octets a second that a message must average after the first smtpd_data_timeout; 0 = any") \
	X(duration, smtpd_tls_timeout, "1m", "min=1s max=1h", "smtp_service",	\
	    "time for a TLS handshake")						\
	X(int, max_errors, "20", "min=1 max=1000000", "smtp_service",		\
	    "refused commands since the last accepted message; then 421 4.7.0")	\
	X(int, received_max, "100", "min=1 max=10000", "smtp_service",		\
	    "Received lines in a header; more is a loop: 554 5.4.6")

GA_CONF_STRUCT(smtpd_conf, SMTPD_DIRECTIVES);

#endif
