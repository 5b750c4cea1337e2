// lookup KIND NAME by Go's own resolver. Prints a line for each answer, or `missing`, or `failed` and why.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

func main() {
	kind, name := os.Args[1], os.Args[2]
	resolver := &net.Resolver{PreferGo: true}
	var lines []string
	var err error
	switch kind {
	case "ptr":
		lines, err = resolver.LookupAddr(context.Background(), name)
	case "txt":
		lines, err = resolver.LookupTXT(context.Background(), name)
	case "srv":
		var records []*net.SRV
		_, records, err = resolver.LookupSRV(context.Background(), "", "", name)
		for _, record := range records {
			lines = append(lines, fmt.Sprintf("%d %s", record.Port, record.Target))
		}
	default:
		lines, err = resolver.LookupHost(context.Background(), name)
	}
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
