// The client of the official Go SDK.
package main

import (
	"context"
	"errors"
	"os/exec"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"lockgate/clients/suite"
)

type client struct {
	session *mcp.ClientSession
	mutex   sync.Mutex
	heard   map[any]func()
	next    int
}

func main() {
	suite.Run(connect)
}

func connect(ctx context.Context, target suite.Target) (suite.Client, error) {
	made := &client{heard: map[any]func(){}}
	options := &mcp.ClientOptions{
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Content: &mcp.TextContent{Text: suite.Sampled}, Model: "m", Role: "assistant"}, nil
		},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": suite.Named}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, request *mcp.ProgressNotificationClientRequest) {
			made.mutex.Lock()
			heard := made.heard[request.Params.ProgressToken]
			made.mutex.Unlock()
			if heard != nil {
				heard()
			}
		},
	}
	sdk := mcp.NewClient(&mcp.Implementation{Name: "suite", Version: "1"}, options)
	sdk.AddRoots(&mcp.Root{URI: suite.Root, Name: "root"})
	var transport mcp.Transport
	switch target.Transport {
	case "sse":
		transport = &mcp.SSEClientTransport{Endpoint: target.Args[0]}
	case "http":
		transport = &mcp.StreamableClientTransport{Endpoint: target.Args[0]}
	case "stdio":
		transport = &mcp.CommandTransport{Command: exec.Command(target.Args[0], target.Args[1:]...)}
	default:
		return nil, errors.New("unknown transport")
	}
	session, err := sdk.Connect(ctx, transport, nil)
	made.session = session
	return made, err
}

func (c *client) Version() string { return c.session.InitializeResult().ProtocolVersion }

func (c *client) Tools(ctx context.Context) ([]string, error) {
	var names []string
	for tool, err := range c.session.Tools(ctx, nil) {
		if err != nil {
			return nil, err
		}
		names = append(names, tool.Name)
	}
	return names, nil
}

func (c *client) Call(ctx context.Context, tool string, arguments map[string]any, onProgress func()) (string, error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: arguments}
	if onProgress != nil {
		c.mutex.Lock()
		c.next++
		token := float64(c.next)
		c.heard[token] = onProgress
		c.mutex.Unlock()
		params.SetProgressToken(c.next)
	}
	result, err := c.session.CallTool(ctx, params)
	if err != nil {
		return "", err
	}
	return suite.Text(result.Content), nil
}

func (c *client) Prompt(ctx context.Context, name string) (string, error) {
	result, err := c.session.GetPrompt(ctx, &mcp.GetPromptParams{Name: name})
	if err != nil {
		return "", err
	}
	return suite.Text(result.Messages), nil
}

func (c *client) Resource(ctx context.Context, uri string) (string, error) {
	result, err := c.session.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
	if err != nil {
		return "", err
	}
	return suite.Text(result.Contents), nil
}

func (c *client) Close() error { return c.session.Close() }
