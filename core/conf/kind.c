/*
 * kind.c - what a string must be: the `is=` of a schema
 *
 * A table of checks by name.  Called by the checker for each value, on one
 * thread.  Nothing here asks the network: a host is checked for its form.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf/kind.h"
#include "conf/pattern.h"
#include "conf/value.h"

struct ga_str gac_path_absolute(const struct gac_kind_env *env, struct ga_str s)
{
	if (s.n == 0 || s.p[0] == '/')
		return ga_dup(env->pool, s);
	return ga_fmt(env->pool, "%s/%.*s", env->control_directory, (int)s.n, s.p);
}

/* Family of the address, or 0.  [brackets] are allowed around IPv6. */
static int address_family(struct ga_str s)
{
	unsigned char bytes[16];
	char text[64];

	if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = (struct ga_str){ s.p + 1, s.n - 2 };
	if (s.n >= sizeof text || memchr(s.p, '\0', s.n) != NULL)
		return 0;
	snprintf(text, sizeof text, "%.*s", (int)s.n, s.p);
	if (inet_pton(AF_INET, text, bytes) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, text, bytes) == 1 ? AF_INET6 : 0;
}

static const char *check_ip(const struct gac_kind_env *env, struct ga_str *s)
{
	(void)env;
	return address_family(*s) != 0 ? NULL : "is not an IP address";
}

static const char *check_cidr(const struct gac_kind_env *env, struct ga_str *s)
{
	const char *slash = s->n == 0 ? NULL : memchr(s->p, '/', s->n);
	struct ga_str addr = { s->p, slash == NULL ? s->n : (size_t)(slash - s->p) };
	int family = address_family(addr);
	int64_t bits = 0;

	(void)env;
	if (family == 0)
		return "is not an IP address or network such as 192.0.2.0/24";
	if (slash == NULL)
		return NULL;
	if (gac_value_int((struct ga_str){ slash + 1, s->n - addr.n - 1 }, &bits) != NULL || bits < 0 ||
	    bits > (family == AF_INET ? 32 : 128))
		return "has a prefix length out of range";
	return NULL;
}

static const char *check_host(const struct gac_kind_env *env, struct ga_str *s)
{
	if (address_family(*s) != 0)
		return NULL;
	return gac_domain_normalize(env->pool, *s, s) == NULL ? NULL :
	    "is neither the name of a host nor an IP address";
}

static const char *check_host_or_cidr(const struct gac_kind_env *env, struct ga_str *s)
{
	struct ga_str host = *s;

	if (check_cidr(env, s) == NULL)
		return NULL;
	if (s->n > 2 && s->p[0] == '*' && s->p[1] == '.')
		host = (struct ga_str){ s->p + 2, s->n - 2 };
	if (memchr(s->p, '/', s->n) != NULL || check_host(env, &host) != NULL)
		return "is neither a host, nor *.DOMAIN, nor an IP address or network";
	return NULL;
}

/* "a:1" -> a and 1; "[::1]:1"; a bare IPv6 address has no port. */
static bool split_port(struct ga_str s, struct ga_str *host, struct ga_str *port)
{
	const char *colon = s.n == 0 ? NULL : memrchr(s.p, ':', s.n);

	*host = s;
	*port = (struct ga_str){ NULL, 0 };
	if (colon == NULL || address_family(s) == AF_INET6)
		return false;
	*host = (struct ga_str){ s.p, (size_t)(colon - s.p) };
	*port = (struct ga_str){ colon + 1, s.n - host->n - 1 };
	return true;
}

static const char *check_port(struct ga_str port, bool zero_allowed)
{
	int64_t n = 0;

	if (gac_value_int(port, &n) != NULL || n > 65535 || n < (zero_allowed ? 0 : 1))
		return "has a port that is not a number from 1 to 65535";
	return NULL;
}

static const char *check_hostport(const struct gac_kind_env *env, struct ga_str *s)
{
	struct ga_str host, port;
	bool has_port = split_port(*s, &host, &port);

	if (check_host(env, &host) != NULL)
		return "is not HOST:PORT";
	return has_port ? check_port(port, false) : NULL;
}

static const char *check_host_port(const struct gac_kind_env *env, struct ga_str *s)
{
	struct ga_str host, port;

	if (!split_port(*s, &host, &port))
		return "lacks a port: write it as HOST:PORT";
	return check_hostport(env, s);
}

static const char *check_listen(const struct gac_kind_env *env, struct ga_str *s)
{
	struct ga_str host, port;
	int family;

	(void)env;
	if (!split_port(*s, &host, &port))
		return "is not IP:PORT";
	family = address_family(host);
	if (family == 0 || (family == AF_INET6 && host.p[0] != '['))
		return "is not IP:PORT or [IPV6]:PORT";
	/* port 0: the system picks one (tests do) */
	return check_port(port, true);
}

static const char *check_ipport(const struct gac_kind_env *env, struct ga_str *s)
{
	struct ga_str host, port;
	bool has_port = split_port(*s, &host, &port);

	(void)env;
	if (address_family(host) == 0)
		return "is not an IP address or IP:PORT";
	return has_port ? check_port(port, false) : NULL;
}

static const char *check_mx_or_domain(const struct gac_kind_env *env, struct ga_str *s)
{
	struct gac_pattern p;
	const char *why = gac_pattern_parse(env->pool, *s, &p);

	if (why == NULL)
		*s = p.text;
	return why;
}

static const char *check_regex(const struct gac_kind_env *env, struct ga_str *s)
{
	const char *text = ga_cstr(env->pool, *s);
	char why[160];
	regex_t re;
	int rc;

	if (text == NULL)
		return "is not a regular expression: there is a NUL byte in it";
	rc = regcomp(&re, text, REG_EXTENDED | REG_NOSUB);
	if (rc == 0) {
		regfree(&re);
		return NULL;
	}
	regerror(rc, &re, why, sizeof why);
	return ga_fmt(env->pool, "is not a regular expression: %s", why).p;
}

static const char *check_file(const struct gac_kind_env *env, struct ga_str *s)
{
	const char *path;

	*s = gac_path_absolute(env, *s);
	path = ga_cstr(env->pool, *s);
	if (path == NULL)
		return "is not the name of a file";
	if (env->files && access(path, R_OK) != 0)
		return ga_fmt(env->pool, "cannot be read: %s", strerror(errno)).p;
	return NULL;
}

/* As the service log_sink takes them. */
static const char *check_log_directory(const struct gac_kind_env *env, struct ga_str *s)
{
	const char *fault = "is not the name of a log directory: 1 to 64 of a-z, 0-9, `-`, `_` and `.`, which is not the first";

	(void)env;
	if (s->n == 0 || s->n > 64 || s->p[0] == '.')
		return fault;
	for (size_t i = 0; i < s->n; i++)
		if (!((s->p[i] >= 'a' && s->p[i] <= 'z') || (s->p[i] >= '0' && s->p[i] <= '9') ||
		    s->p[i] == '-' || s->p[i] == '_' || s->p[i] == '.'))
			return fault;
	return NULL;
}

/* The rule for names of VirtualMTAs; other blocks keep to it too. */
static const char *check_name(const struct gac_kind_env *env, struct ga_str *s)
{
	bool digits = true;
	int64_t number;

	(void)env;
	if (s->n < 1 || s->n > 200)
		return "is not a name: 1 to 200 characters are allowed";
	for (size_t i = 0; i < s->n; i++) {
		unsigned char c = (unsigned char)s->p[i];

		if (c < 0x20 || c > 0x7e || c == ',' || c == '#' || c == '@')
			return "is not a name: printable ASCII without `,`, `#` and `@` is allowed";
		digits = digits && isdigit(c);
	}
	if (s->p[0] == ' ' || s->p[s->n - 1] == ' ')
		return "is not a name: it begins or ends with a blank";
	return digits || gac_value_int(*s, &number) == NULL ? "is not a name: a number alone is an id" : NULL;
}

static const char *check_int(const struct gac_kind_env *env, struct ga_str *s)
{
	int64_t v;

	(void)env;
	return gac_value_int(*s, &v);
}

static const char *check_real(const struct gac_kind_env *env, struct ga_str *s)
{
	double v;

	(void)env;
	return gac_value_real(*s, &v);
}

static const char *check_flag(const struct gac_kind_env *env, struct ga_str *s)
{
	bool v;

	(void)env;
	return gac_value_flag(*s, &v);
}

static const char *check_duration(const struct gac_kind_env *env, struct ga_str *s)
{
	uint64_t v;

	(void)env;
	return gac_value_duration(*s, &v);
}

static const char *check_percent_or_int(const struct gac_kind_env *env, struct ga_str *s)
{
	double percent;
	int64_t v;

	(void)env;
	return gac_value_percent(*s, &percent) == NULL || (gac_value_int(*s, &v) == NULL && v >= 0) ? NULL :
	    "is neither a percentage such as 25% nor a whole number";
}

static const char *check_percent_or_rate(const struct gac_kind_env *env, struct ga_str *s)
{
	double v;

	(void)env;
	return gac_value_percent(*s, &v) == NULL || gac_value_rate(*s, &v) == NULL ? NULL :
	    "is neither a percentage such as 25% nor a rate such as 7200/hr";
}

static const char *check_auto_or_int(const struct gac_kind_env *env, struct ga_str *s)
{
	int64_t v;

	(void)env;
	return ga_str_eq(*s, GA_STR("auto")) || (gac_value_int(*s, &v) == NULL && v >= 1) ? NULL :
	    "is neither `auto` nor a whole number from 1";
}

/* Only root can become somebody else; for others the name does not matter. */
static const char *check_user(const struct gac_kind_env *env, struct ga_str *s)
{
	const char *name = ga_cstr(env->pool, *s);
	struct passwd pw, *found = NULL;
	char buf[4096];

	if (name == NULL || *name == '\0')
		return "is not the name of a user";
	if (!env->files || geteuid() != 0)
		return NULL;
	getpwnam_r(name, &pw, buf, sizeof buf, &found);
	return found == NULL ? "is not a user of this machine" : NULL;
}

static const char *check_any(const struct gac_kind_env *env, struct ga_str *s)
{
	(void)env;
	(void)s;
	return NULL;
}

static const struct gac_kind kinds[] = {
	{ "any", check_any, "anything" },
	{ "ip", check_ip, "an IP address" },
	{ "cidr", check_cidr, "an IP address or network" },
	{ "ipport", check_ipport, "IP or IP:PORT" },
	{ "host", check_host, "a host name or IP address" },
	{ "host_or_cidr", check_host_or_cidr, "a host, *.DOMAIN, an IP address or network" },
	{ "hostport", check_hostport, "HOST or HOST:PORT" },
	{ "host_port", check_host_port, "HOST:PORT" },
	{ "listen", check_listen, "IP:PORT" },
	{ "mx_or_domain", check_mx_or_domain, "a domain pattern, also mx:..." },
	{ "regex", check_regex, "a POSIX extended regular expression" },
	{ "file", check_file, "a readable file" },
	{ "name", check_name, "a name" },
	{ "log_directory", check_log_directory, "the name of a log directory" },
	{ "int", check_int, "a whole number" },
	{ "real", check_real, "a number" },
	{ "flag", check_flag, "yes or no" },
	{ "duration", check_duration, "a duration" },
	{ "percent_or_int", check_percent_or_int, "a percentage or a whole number" },
	{ "percent_or_rate", check_percent_or_rate, "a percentage or a rate" },
	{ "user", check_user, "a user of the machine" },
	{ "auto_or_int", check_auto_or_int, "auto or a whole number" },
};

const struct gac_kind *gac_kind_find(struct ga_str name)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (ga_str_eq(name, ga_str_c(kinds[i].name)))
			return &kinds[i];
	return NULL;
}
