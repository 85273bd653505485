package config_test

import (
	"fmt"

	"ulvs/config"
)

func ExampleParse() {
	text := `
[node]
interfaces = ["eth0"]

[[service]]
vip = "192.0.2.10:80"
scheduler = "rr"

  [[service.real_server]]
  address = "192.0.2.21:80"

  [[service.real_server]]
  address = "192.0.2.22"
  weight = 2
`
	c, err := config.Parse("ulvs.toml", []byte(text), config.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range c.Services() {
		fmt.Println(s.Key, s.Scheduler)
		for _, d := range s.Destinations { // the last of the file is first, as in the kernel's list
			fmt.Println("  ->", d.AddrPort(), d.Method, d.Weight)
		}
	}
	// Output:
	// tcp 192.0.2.10:80 rr
	//   -> 192.0.2.22:80 dr 2
	//   -> 192.0.2.21:80 dr 1
}

func ExampleErrorList() {
	text := `
[node]
interfaces = []

[[service]]
vip = "192.0.2.10:80"
scheduler = "wlcc"
`
	_, err := config.Parse("ulvs.toml", []byte(text), config.Options{})
	fmt.Println(err)
	// Output:
	// ulvs.toml:3: node.interfaces: no interfaces; give the NICs that carry VIP traffic: interfaces = ["eth0"]
	// ulvs.toml:7: service[0].scheduler: unknown scheduler "wlcc"; did you mean wlc?
}
