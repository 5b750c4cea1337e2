// lookup KIND NAME [KIND NAME]... with Go's resolver. For each name, prints one line per answer, or
// `missing`, or `failed` and the reason; then `--`.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

func main() {
	for at := 1; at+1 < len(os.Args); at += 2 {
		answer(os.Args[at], os.Args[at+1])
		fmt.Println("--")
	}
}

func answer(kind, name string) {
	lines, err := lookup(kind, name)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		fmt.Println("missing")
	} else if err != nil {
		fmt.Println("failed", err)
	}
	for _, line := range lines {
		fmt.Println(line)
	}
}

func lookup(kind, name string) (lines []string, err error) {
	resolver, ctx := &net.Resolver{PreferGo: true}, context.Background()
	switch kind {
	case "reverse":
		return resolver.LookupAddr(ctx, name)
	case "txt":
		return resolver.LookupTXT(ctx, name)
	case "srv":
		_, records, err := resolver.LookupSRV(ctx, "", "", name)
		for _, record := range records {
			lines = append(lines, fmt.Sprintf("%d %s", record.Port, record.Target))
		}
		return lines, err
	case "mx":
		records, err := resolver.LookupMX(ctx, name)
		for _, record := range records {
			lines = append(lines, fmt.Sprintf("%d %s", record.Pref, record.Host))
		}
		return lines, err
	case "a", "aaaa":
		network := map[string]string{"a": "ip4", "aaaa": "ip6"}[kind]
		addresses, err := resolver.LookupIP(ctx, network, name)
		for _, address := range addresses {
			lines = append(lines, address.String())
		}
		return lines, err
	default:
		return resolver.LookupHost(ctx, name)
	}
}
