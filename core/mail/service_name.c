/*
 * service_name.c - what an smtp_service is called among directories.
 *
 * Implements ga_smtp_service_directory() of service/smtp_services.h.  Pure, any thread.  The names are
 * those of qmail's services, which operators and their scripts know.
 */
#include "config.h"

#include <string.h>

#include <greenarrow/service/smtp_services.h>

#define BASE "qmail-smtpd"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "smtp" and digits: the digits, which may be none; else "-" is to come before the name. */
static bool
is_numbered(struct ga_str name, struct ga_str *number)
{
	if (name.n < 4 || !ga_str_caseeq((struct ga_str){ name.p, 4 }, GA_STR("smtp")))
		return false;
	*number = (struct ga_str){ name.p + 4, name.n - 4 };
	for (size_t i = 0; i < number->n; i++)
		if (!is_digit(number->p[i]))
			return false;
	return true;
}

static char
plain(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return (c >= 'a' && c <= 'z') || is_digit(c) || c == '.' || c == '-' ? c : '_';
}

struct ga_str
ga_smtp_service_directory(struct ga_str name, char out[GA_SMTP_SERVICE_DIRECTORY])
{
	struct ga_str rest = name;
	size_t n = sizeof BASE - 1;

	memcpy(out, BASE, n);
	if (!is_numbered(name, &rest)) {
		rest = name;
		out[n++] = '-';
	}
	for (size_t i = 0; i < rest.n && n + 1 < GA_SMTP_SERVICE_DIRECTORY; i++)
		out[n++] = plain(rest.p[i]);
	out[n] = '\0';
	return (struct ga_str){ out, n };
}
